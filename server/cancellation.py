"""Cancels requests by their id, whoever asks, and also before they arrive.

An id that was cancelled stays so for a while: its *tombstone* refuses whatever comes under it, a
retry of what was cut off as well, so that asking to cancel twice does what asking once does.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from server.errors import Cancelled

T = TypeVar("T")


@dataclass(slots=True)
class Run:
    """The tasks that answer one call."""

    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    is_cancelled: bool = False

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self.tasks.append(task)
        return task

    def cancel(self) -> bool:
        """Whether it ran and is cut off by this."""
        running = [task for task in self.tasks if not task.done()]
        if self.is_cancelled or not running:
            return False
        self.is_cancelled = True
        for task in running:
            task.cancel()
        return True


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many calls were cut off, and whether further ones will be refused."""

    num_cancelled: int
    is_remembered: bool


class Cancellations:
    """What runs under which id. Belongs to one event loop."""

    def __init__(
        self,
        tombstone_s: float,
        max_tombstones: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tombstone_s = tombstone_s
        self._max_tombstones = max_tombstones
        self._clock = clock
        self._running: dict[str, list[Run]] = {}
        self._tombstones: OrderedDict[str, float] = OrderedDict()  # id -> expiry, in its order

    @contextmanager
    def running(self, request_id: str) -> Iterator[Run]:
        """Gives a run whose tasks `cancel` reaches; awaiting a task of it then raises Cancelled.

        Raises Cancelled, nothing started, where the id was cancelled before.
        """
        self._refuse_dead(request_id)
        run = Run()
        self._running.setdefault(request_id, []).append(run)
        try:
            yield run
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not run.is_cancelled or (task is not None and task.cancelling()):
                raise  # the caller itself is gone
            raise Cancelled("the request was cancelled by its id") from None
        finally:
            self._forget(request_id, run)

    def cancel(self, request_id: str, is_answered: Callable[[], bool] = lambda: False) -> Outcome:
        """Cut off what runs, and refuse what comes, unless the answer is already known."""
        num_cancelled = sum(run.cancel() for run in self._running.get(request_id, ()))
        self._expire()
        if not num_cancelled and request_id not in self._tombstones and is_answered():
            return Outcome(0, False)
        self._bury(request_id)
        return Outcome(num_cancelled, request_id in self._tombstones)

    def _bury(self, request_id: str) -> None:
        if self._tombstone_s > 0:
            self._tombstones[request_id] = self._clock() + self._tombstone_s
            self._tombstones.move_to_end(request_id)
        while len(self._tombstones) > self._max_tombstones:
            self._tombstones.popitem(last=False)

    def _refuse_dead(self, request_id: str) -> None:
        self._expire()
        if request_id in self._tombstones:
            raise Cancelled("the request was cancelled before it came", "CANCELLED_BEFORE")

    def _expire(self) -> None:
        now_s = self._clock()
        while self._tombstones and next(iter(self._tombstones.values())) <= now_s:
            self._tombstones.popitem(last=False)

    def _forget(self, request_id: str, run: Run) -> None:
        runs = self._running[request_id]
        runs.remove(run)
        if not runs:
            del self._running[request_id]
