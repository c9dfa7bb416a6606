"""How long a tick takes, measured by bucket, and what that predicts."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence

SMOOTHING = 0.1


class Pace:
    """Smoothed tick seconds by bucket. Written by the engine's thread, read by any."""

    def __init__(self, buckets: Sequence[int]) -> None:
        if not buckets or list(buckets) != sorted(set(buckets)) or buckets[0] < 1:
            raise ValueError(f"buckets must be rising positive sizes, got {list(buckets)}")
        self.buckets = tuple(buckets)
        self._seconds: dict[int, float] = {}
        self._lock = threading.Lock()

    @property
    def largest(self) -> int:
        return self.buckets[-1]

    def bucket(self, num_forward_rows: int) -> int:
        """The smallest bucket that holds so many rows."""
        return self.buckets[bisect.bisect_left(self.buckets, num_forward_rows)]

    def record(self, bucket: int, seconds: float) -> None:
        with self._lock:
            known = self._seconds.get(bucket, seconds)
            self._seconds[bucket] = known + SMOOTHING * (seconds - known)

    def tick_s(self, num_forward_rows: int) -> float:
        """Seconds of one tick of so many rows; 0 where nothing like it was measured."""
        with self._lock:
            return self._seconds.get(self.bucket(min(num_forward_rows, self.largest)), 0.0)

    def measured_ms(self) -> dict[int, float]:
        """Milliseconds of one tick by bucket."""
        with self._lock:
            return {bucket: round(1000 * s, 2) for bucket, s in self._seconds.items()}

    def predict_s(self, num_ticks: int, num_forward_rows: int) -> float:
        """Seconds until so many rows of so many ticks each are done, if nothing else comes."""
        rounds = max(1.0, num_forward_rows / self.largest)
        return self.tick_s(max(num_forward_rows, 1)) * num_ticks * rounds
