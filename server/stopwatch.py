"""How long each stage of one request took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from server import tracing


class Stopwatch:
    """`timings_s` fills in the order of the way; so does the trace, where there is one."""

    def __init__(self) -> None:
        self.timings_s: dict[str, float] = {}
        self._started_s = time.perf_counter()
        self._span = tracing.current()

    @property
    def total_s(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._started_s

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(**{name: time.perf_counter() - started})

    def add(self, **stages_s: float) -> None:
        """Stages that followed each other and have just ended."""
        for name, seconds in stages_s.items():
            self.timings_s[name] = self.timings_s.get(name, 0.0) + seconds
        self.trace(**stages_s)

    def trace(self, **parts_s: float) -> None:
        """The same of what is no stage of its own: only the trace shows it."""
        if self._span is not None:
            self._span.record(parts_s)
