"""What goes on behind erasures: those of other servers, those that failed, and a second look.

Servers that share a database hear of each other's erasures within `watch_s`: till then, the memory
of another server may still hold an image. What was under way there when a shopper was erased is
found by looking again, a while later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from server import logs
from server.privacy.eraser import Eraser
from server.privacy.proof import Case
from server.privacy.register import Register

AGAIN_S = (10.0, 60.0, 600.0)
"""After an erasure: when memory is looked through again, for what was made meanwhile."""

log = logs.logger(__name__)

Forget = Callable[[Case], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds; `window_s` is how long tokens of images count."""

    watch_s: float = 5.0
    retry_s: float = 60.0
    window_s: float = 30 * 86_400.0


class Keeper:
    """Belongs to one event loop."""

    def __init__(
        self,
        register: Register,
        pace: Pace,
        forget_here: Forget,
        sweep: Forget,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`forget_here` looks through this server's memory; `sweep` through what is shared, once,
        for what was written while it was erased."""
        self._register, self._pace, self._clock = register, pace, clock
        self._forget_here, self._sweep = forget_here, sweep
        self._erased_s: dict[str, float] = {}
        self._again: list[tuple[float, Case]] = []
        self._last = 0
        self._task: asyncio.Task[None] | None = None

    def is_erased(self, unit: str, minted_s: float) -> bool:
        """Whether an image that was answered then was answered to somebody erased since."""
        return minted_s <= self._erased_s.get(unit, -1.0)

    def note(self, case: Case) -> None:
        """From now on nothing of them is taken in that was theirs before."""
        self._erased_s[case.unit] = max(case.started_s, self._erased_s.get(case.unit, 0.0))

    async def start(self, eraser: Eraser) -> None:
        """Knows what was erased before; raises SQLAlchemyError."""
        since_s = self._clock() - self._pace.window_s
        for case in await asyncio.to_thread(self._register.list_after, 0, since_s):
            self.note(case)
            self._last = max(self._last, case.key)
        self._task = asyncio.create_task(self._run(eraser))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, eraser: Eraser) -> None:
        while True:
            await asyncio.sleep(self._pace.watch_s)
            try:
                await self._hear()
                await self._look_again()
                await self._go_on(eraser)
            except SQLAlchemyError as error:
                log.error("erasures can't be read", exc_info=error)
            except Exception as error:  # a shelf that fails, say: the next time, then
                log.error("erasures wait", exc_info=error)

    async def _hear(self) -> None:
        for case in await asyncio.to_thread(self._register.list_after, self._last):
            self.note(case)
            await self._forget_here(case)
            now_s = self._clock()
            self._again += [(now_s + pause_s, case) for pause_s in AGAIN_S]
            self._last = case.key

    async def _look_again(self) -> None:
        now_s = self._clock()
        due = [case for due_s, case in self._again if due_s <= now_s]
        self._again = [(due_s, case) for due_s, case in self._again if due_s > now_s]
        for case in due:
            await self._forget_here(case)

    async def _go_on(self, eraser: Eraser) -> None:
        now_s = self._clock()
        late = await asyncio.to_thread(self._register.list_unfinished, now_s - self._pace.retry_s)
        for case in late:
            await eraser.go_on(case)
        unswept = await asyncio.to_thread(
            self._register.list_unswept, now_s - 2 * self._pace.watch_s
        )
        for case in unswept:
            await self._sweep(case)
            await asyncio.to_thread(self._register.sweep, case)
