"""Engines that broke are started again; a process that can't is of no use and ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

log = logging.getLogger(__name__)


class Revivable(Protocol):
    """What is asked of an engine."""

    @property
    def device(self) -> str: ...

    @property
    def is_healthy(self) -> bool: ...

    def restart(self) -> None:
        """Takes its time: every bucket is warmed. Raises whatever keeps it from running."""


class EngineLost(RuntimeError):
    """No engine runs, and starting them again does not help: a device that is gone stays gone for
    the process that used it."""


class Reviver:
    """Each engine may be started again `max_tries` times within `window_s`."""

    def __init__(
        self,
        engines: Sequence[Revivable],
        tell: Callable[[str, str], None] = lambda device, result: None,
        max_tries: int = 3,
        window_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` is called with the device, and "restarted" or "failed"."""
        self._tell, self._max_tries = tell, max_tries
        self._window_s, self._clock = window_s, clock
        self._tried_s: dict[Revivable, list[float]] = {engine: [] for engine in engines}

    async def look(self) -> None:
        """Starts those again that broke, one after the other. Raises EngineLost."""
        for engine in self._tried_s:
            if not engine.is_healthy and self._may_try(engine):
                await self._restart(engine)
        if not any(each.is_healthy or self._may_try(each) for each in self._tried_s):
            raise EngineLost("no engine runs, and to start one again did not help")

    def _may_try(self, engine: Revivable) -> bool:
        since_s = self._clock() - self._window_s
        self._tried_s[engine] = [tried_s for tried_s in self._tried_s[engine] if tried_s > since_s]
        return len(self._tried_s[engine]) < self._max_tries

    async def _restart(self, engine: Revivable) -> None:
        self._tried_s[engine].append(self._clock())
        try:
            await asyncio.to_thread(engine.restart)
        except Exception as error:  # whatever a device says: the next look tries again
            log.error("the engine on %s does not start again", engine.device, exc_info=error)
            self._tell(engine.device, "failed")
        else:
            log.warning("the engine on %s was started again", engine.device)
            self._tell(engine.device, "restarted")
