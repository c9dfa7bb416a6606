"""How long a tick takes: learnt by key and bucket while serving, and kept over a restart."""

from __future__ import annotations

import bisect
import json
import math
import os
import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

SMOOTHING = 0.15
"""Weight of a new observation: a lasting change is followed to 96 % within 20 ticks."""

SURPRISE = 2.0
"""One observation counts as at most so many times what is known: the OS may have slept in it."""

OBLIVION = 1.0005
"""By so much what is remembered of the fastest tick, and of the slowest spell, fades with each one
seen: a machine that was made half as fast for good is believed after some 1,400 ticks."""

SETTLED = 250
"""For so many ticks of other buckets what is known of one is trusted. After that it is hoped to be
faster, by CURIOSITY with each: one that looked twice as slow while a neighbour had the machine is
tried again after some 320 ticks, and one that is as slow as it looked costs a tick of those."""

CURIOSITY = 1.01
_MOST_HOPE = 8.0
_NEWS = 0.8  # a tick faster than this share of what was known is believed at once


@dataclass(frozen=True, slots=True)
class _Estimate:
    seconds: float
    best_s: float
    slow_s: float
    hope_s: float
    num_seen: int = 1
    num_passed_over: int = 0

    @classmethod
    def first(cls, seconds: float) -> _Estimate:
        return cls(seconds, seconds, seconds, seconds)

    def after(self, seconds: float) -> _Estimate:
        """A mean of the first few, then smoothed, so that a first or loaded value weighs little."""
        weight = max(SMOOTHING, 1 / (self.num_seen + 1))
        seen = min(seconds, SURPRISE * self.seconds or seconds)
        mean = self.seconds + weight * (seen - self.seconds)
        best_s = min(seconds, OBLIVION * self.best_s, mean)
        slow_s = max(mean, self.slow_s / OBLIVION)
        hope_s = seconds if seconds < _NEWS * mean else mean
        return _Estimate(mean, best_s, slow_s, hope_s, self.num_seen + 1)

    def scaled(self, ratio: float) -> _Estimate:
        """As it follows from a tick of another bucket."""
        num_passed_over = self.num_passed_over + 1
        seconds, hope_s = self.seconds * ratio, self.hope_s * ratio
        if num_passed_over > SETTLED:
            hope_s = max(hope_s / CURIOSITY, seconds / _MOST_HOPE)
        return replace(
            self,
            seconds=seconds,
            slow_s=max(seconds, self.slow_s / OBLIVION),
            hope_s=hope_s,
            num_passed_over=num_passed_over,
        )


_Estimates = Mapping[int, _Estimate]

_Line = Literal["seconds", "best_s", "slow_s", "hope_s"]
"""Fields of an estimate: what a tick takes usually, at best and in the slowest spell of late, and
what it is hoped to take."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """What is known of a key: estimates of measured buckets, and each line over all buckets."""

    estimates: _Estimates
    lines: Mapping[_Line, Mapping[int, float]]


class Pace:
    """Smoothed tick seconds by (key, bucket). Written by the engine's thread, read by any.

    A key is what the scheduler batches by. Readers take no lock: a curve is replaced, not changed.
    """

    def __init__(self, buckets: Sequence[int]) -> None:
        if not buckets or list(buckets) != sorted(set(buckets)) or buckets[0] < 1:
            raise ValueError(f"buckets must be rising positive sizes, got {list(buckets)}")
        self.buckets = tuple(buckets)
        self._curves: dict[Hashable, _Curve] = {}
        self._loaded: dict[str, _Curve] = {}
        self._lock = threading.Lock()

    @property
    def largest(self) -> int:
        return self.buckets[-1]

    def bucket(self, num_forward_rows: int) -> int:
        """The smallest bucket that holds so many rows."""
        return self.buckets[bisect.bisect_left(self.buckets, num_forward_rows)]

    def keys(self) -> tuple[Hashable, ...]:
        """Keys of which a tick was recorded."""
        return tuple(self._curves)

    def record(self, key: Hashable, bucket: int, seconds: float) -> None:
        """A machine that is slow is slow at every size: the other buckets follow half-way."""
        with self._lock:
            if bucket not in self.buckets:
                return  # given up since
            curve = self._curve(key)
            estimates = dict(curve.estimates) if curve else {}
            if known := estimates.get(bucket):
                new = known.after(seconds)
                half = math.sqrt(new.seconds / known.seconds) if known.seconds else 1.0
                estimates = {size: other.scaled(half) for size, other in estimates.items()}
            else:
                new = _Estimate.first(seconds)
            estimates[bucket] = new
            self._curves = {**self._curves, key: self._draw(estimates)}

    def tick_s(self, key: Hashable, num_forward_rows: int) -> float:
        """Seconds of one tick of so many rows; rows beyond the largest bucket take turns.

        A bucket not measured lies on the line between its neighbours; 0 where nothing was measured.
        """
        return self._look_up("seconds", key, num_forward_rows)

    def best_tick_s(self, key: Hashable, num_forward_rows: int) -> float:
        """The same, as fast as the fastest of late."""
        return self._look_up("best_s", key, num_forward_rows)

    def slow_tick_s(self, key: Hashable, num_forward_rows: int) -> float:
        """The same, as slow as in the slowest spell of late: a walk of many ticks may meet one."""
        return self._look_up("slow_s", key, num_forward_rows)

    def hoped_tick_s(self, key: Hashable, num_forward_rows: int) -> float:
        """The same, but faster the longer no such tick was taken: whoever chooses by it tries again
        what looked slow once."""
        return self._look_up("hope_s", key, num_forward_rows)

    def _look_up(self, line: _Line, key: Hashable, num_forward_rows: int) -> float:
        if (curve := self._curve(key)) is None:
            return 0.0
        ticks_s, buckets = curve.lines[line], self.buckets
        if num_forward_rows <= buckets[-1]:
            return ticks_s[buckets[bisect.bisect_left(buckets, num_forward_rows)]]
        turns, rest = divmod(num_forward_rows, buckets[-1])
        last_s = ticks_s[buckets[bisect.bisect_left(buckets, rest)]] if rest else 0.0
        return turns * ticks_s[buckets[-1]] + last_s

    def rate(self, key: Hashable) -> float:
        """Rows per second at the best of the measured buckets; infinite where there is none."""
        rates = (
            bucket / estimate.seconds if estimate.seconds else math.inf
            for bucket, estimate in self._measured(key).items()
        )
        return max(rates, default=math.inf)

    def measured_s(self, key: Hashable) -> dict[int, float]:
        """Seconds of one tick by measured bucket."""
        measured = self._measured(key)
        return {bucket: measured[bucket].seconds for bucket in sorted(measured)}

    def at_best(self) -> Pace:
        """What the fastest ticks of late would make of it."""
        best = Pace(self.buckets)
        for key in self.keys():
            if found := self._measured(key):
                fastest = {bucket: _Estimate.first(each.best_s) for bucket, each in found.items()}
                best._curves[key] = self._draw(fastest)
        return best

    def shrink(self, bucket: int) -> None:
        """Buckets from this one on are forgotten and never offered again; the smallest stays."""
        with self._lock:
            smaller = tuple(size for size in self.buckets if size < bucket)
            self.buckets = smaller or self.buckets[:1]  # before the curves: a reader takes it after
            kept = {key: self._measured(key) for key in self._curves}
            self._curves = {key: self._draw(found) for key, found in kept.items() if found}

    def save(self, path: Path) -> None:
        """Writes what is known, by the text of the key, in one move."""
        with self._lock:
            curves = self._loaded | {str(key): curve for key, curve in self._curves.items()}
        kept = {
            key: {str(bucket): found.seconds for bucket, found in curve.estimates.items()}
            for key, curve in curves.items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text(json.dumps(kept, indent=1, sort_keys=True), "utf-8")
        beside.replace(path)

    def load(self, path: Path) -> None:
        """Starts from what an earlier run saved; whatever is no such file is passed over."""
        try:
            kept = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return
        with self._lock:
            for key, found in kept.items() if isinstance(kept, dict) else ():
                if estimates := self._parse(found):
                    self._loaded[key] = self._draw(estimates)

    def _parse(self, found: object) -> _Estimates:
        sizes = {str(bucket): bucket for bucket in self.buckets}
        return {
            sizes[size]: _Estimate.first(float(seconds))
            for size, seconds in (found.items() if isinstance(found, dict) else ())
            if size in sizes and type(seconds) in (int, float) and 0 < seconds < math.inf
        }

    def _curve(self, key: Hashable) -> _Curve | None:
        return self._curves.get(key) or self._loaded.get(str(key))

    def _measured(self, key: Hashable) -> _Estimates:
        curve, buckets = self._curve(key), self.buckets
        estimates = curve.estimates if curve else {}
        return {bucket: found for bucket, found in estimates.items() if bucket in buckets}

    def _draw(self, estimates: _Estimates) -> _Curve:
        found = sorted(estimates.items())
        lines: dict[_Line, Mapping[int, float]] = {}
        for line in get_args(_Line):
            points = [(bucket, getattr(estimate, line)) for bucket, estimate in found]
            lines[line] = {bucket: _interpolate(points, bucket) for bucket in self.buckets}
        return _Curve(estimates, lines)


def _interpolate(points: Sequence[tuple[int, float]], bucket: int) -> float:
    """On the line between two points; below all as slow as the lowest, above in proportion."""
    after = bisect.bisect_left(points, bucket, key=lambda point: point[0])
    if after == len(points):
        size, seconds = points[-1]
        return seconds * bucket / size
    size, seconds = points[after]
    if size == bucket or not after:
        return seconds
    below, below_s = points[after - 1]
    return below_s + (seconds - below_s) * (bucket - below) / (size - below)
