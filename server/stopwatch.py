"""How long each stage of one request took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """`timings_s` fills in the order of the way."""

    def __init__(self) -> None:
        self.timings_s: dict[str, float] = {}
        self._started_s = time.perf_counter()

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
        for name, seconds in stages_s.items():
            self.timings_s[name] = self.timings_s.get(name, 0.0) + seconds
