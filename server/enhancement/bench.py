"""Where the pixel work of one request is done: part by part, and none for whom it is too late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from server.errors import DeadlineExceeded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bench:
    """`deadline_s` is on the monotonic clock. What waits for a thread when its task is cancelled is
    not begun."""

    workers: Executor
    deadline_s: float | None = None

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Off the event loop. Raises DeadlineExceeded where a thread is free too late."""
        begin = partial(self._begin, work, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self.workers, begin)

    def _begin(self, work: Callable[..., T], *arguments: object) -> T:
        if self.deadline_s is not None and time.monotonic() >= self.deadline_s:
            raise DeadlineExceeded("the deadline passed while the picture was worked on")
        return work(*arguments)
