"""Who asks a dependency that is down, and who does without it at once.

Closed: all ask. After `num_failures` in a row it opens: nobody asks for `rest_s`. Then it is half
open: one asks each `rest_s`, and the first success closes it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol


class BreakerObserver(Protocol):
    """`dependency` is one of a few fixed names."""

    def breaker(self, dependency: str, is_open: bool) -> None: ...

    def breaker_skipped(self, dependency: str) -> None:
        """Somebody did without."""


class Silence:
    """An observer that looks away."""

    def breaker(self, dependency: str, is_open: bool) -> None: ...

    def breaker_skipped(self, dependency: str) -> None: ...


class Breaker:
    """Belongs to one event loop. Whoever asked says what came of it, or nothing where they left."""

    def __init__(
        self,
        dependency: str,
        observer: BreakerObserver | None = None,
        num_failures: int = 3,
        rest_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dependency, self._observer = dependency, observer or Silence()
        self._num_failures, self._rest_s, self._clock = num_failures, rest_s, clock
        self._failed_in_row = 0
        self._last_failed_s = self._rests_until_s = -math.inf
        self._observer.breaker(dependency, False)

    @property
    def is_open(self) -> bool:
        return self._failed_in_row >= self._num_failures

    def ask(self) -> float | None:
        """The moment from which a question may be asked: now, to be told to `failed`; None where
        it may not be."""
        now_s = self._clock()
        if not self.is_open:
            return now_s
        if now_s < self._rests_until_s:
            self._observer.breaker_skipped(self._dependency)
            return None
        self._rests_until_s = now_s + self._rest_s  # the next one asks then, whatever comes of this
        return now_s

    def succeeded(self) -> None:
        if self.is_open:
            self._observer.breaker(self._dependency, False)
        self._failed_in_row = 0

    def failed(self, asked_s: float) -> None:
        """Those who asked at the same time fail together, and count once."""
        if asked_s < self._last_failed_s:
            return
        was_open, self._last_failed_s = self.is_open, self._clock()
        self._failed_in_row += 1
        if self.is_open:
            self._rests_until_s = self._last_failed_s + self._rest_s
            if not was_open:
                self._observer.breaker(self._dependency, True)
