"""News of a running request: steps done, and previews where they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from torch import Tensor

from server.core import EncodedImage, Event, ImageFormat, OutputSpec, Pixels, Progress
from server.imaging.encode import encode, shrink

Listener = Callable[[Event], None]
PREVIEW = OutputSpec(ImageFormat.JPEG, quality=75)


class News:
    """Turns the engine's steps into progress for one listener, in the order of the steps.

    A preview is decoded beside the sampling, one at a time, and goes out with the first step after
    it is ready.
    """

    def __init__(
        self,
        preview_side: int,
        num_steps: int,
        decode: Callable[[Tensor], Pixels],
        workers: Executor,
        listener: Listener,
    ) -> None:
        self._side, self._num_steps = preview_side, num_steps
        self._decode, self._workers, self._listener = decode, workers, listener
        self._last = 0
        self._preview: asyncio.Future[EncodedImage] | None = None

    def step(self, done: int, guess: Tensor) -> None:
        """Called in the event loop; `guess` [C, h, w] is the first image as it would be now."""
        if done <= self._last:
            return
        self._last = done
        self._listener(Progress(done, self._num_steps, self._take_preview(guess)))

    def close(self) -> None:
        """Nothing is told from here on."""
        self._last = self._num_steps
        if self._preview is not None:
            self._preview.cancel()

    def _take_preview(self, guess: Tensor) -> EncodedImage | None:
        if not self._side:
            return None
        ready = None
        if self._preview is not None and self._preview.done():
            ready, self._preview = self._preview.result(), None
        if self._preview is None:
            loop = asyncio.get_running_loop()
            self._preview = loop.run_in_executor(self._workers, self._draw, guess)
        return ready

    def _draw(self, guess: Tensor) -> EncodedImage:
        return encode(shrink(self._decode(guess[None])[0], self._side), PREVIEW)
