"""Lets images of a batch into the engine when it has room beside those that somebody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Protocol

from server.core import ImageRequest, ImageResult

_POLL_S = 0.02


class Generator(Protocol):
    """What makes images; cancelling the awaiting task frees what it holds."""

    async def generate(self, request: ImageRequest) -> ImageResult: ...


class Background:
    """The pipeline, for those who can wait: it fills the engine up to `max_rows` rows and leaves
    the rest to others, and it starts nothing while others have as many.

    The scheduler puts all that somebody waits for before it.
    """

    def __init__(
        self, pipeline: Generator, max_rows: int, count_rows: Callable[[], int] = lambda: 0
    ) -> None:
        """`count_rows` says how many rows the engine has, everybody's."""
        self._pipeline, self._max_rows, self._count_rows = pipeline, max_rows, count_rows
        self._num_rows = 0
        self._freed = asyncio.Event()

    async def generate(self, request: ImageRequest) -> ImageResult:
        """Raises what the pipeline raises."""
        request = replace(request, is_background=True)
        async with self._take_room(request.num_images):
            return await self._pipeline.generate(request)

    @asynccontextmanager
    async def _take_room(self, num_rows: int) -> AsyncIterator[None]:
        while not self._has_room(num_rows):
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._freed.wait()
        self._num_rows += num_rows
        try:
            yield
        finally:
            self._num_rows -= num_rows
            self._freed.set()  # wakes all who wait now, and no later one
            self._freed.clear()

    def _has_room(self, num_rows: int) -> bool:
        """A request of more images than are allowed at once goes alone."""
        fits = not self._num_rows or self._num_rows + num_rows <= self._max_rows
        return fits and self._count_rows() < self._max_rows
