"""What the runs come to: claims against the best peer, and the two curves."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.load import Summary
from benchmarks.measurement import Report
from benchmarks.peers.systems import OURS
from benchmarks.plots import Point, draw_lines

COMPARED = (0.9, 1.5)
HIGHEST = 3.0

Measure = Callable[[Summary], float]


def count_good(summary: Summary) -> float:
    """Goodput; whoever was in time with nothing is taken to have been so once."""
    return max(summary.goodput, summary.offered / max(summary.num_calls, 1))


TOLD: dict[str, tuple[Measure, str]] = {
    "goodput": (lambda s: s.goodput, "images/s"),
    "p99_ms": (lambda s: 1e3 * s.p99_s, "ms"),
    "p99_of_deadline": (lambda s: s.p99_share, "x"),
    "in_time": (lambda s: s.goodput / s.offered if s.offered else math.nan, "share"),
}


class Runs:
    """Summaries by system and load, in the order in which they were measured."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[str, float], list[Summary]] = defaultdict(list)

    def add(self, system: str, load: float, summary: Summary) -> None:
        self._by_place[system, load].append(summary)

    def of(self, system: str, load: float) -> list[Summary]:
        return self._by_place.get((system, load), [])

    @property
    def systems(self) -> list[str]:
        return list(dict.fromkeys(system for system, _ in self._by_place))

    @property
    def others(self) -> list[str]:
        return [system for system in self.systems if system != OURS.name]

    def loads(self, system: str) -> list[float]:
        return sorted({load for name, load in self._by_place if name == system})

    def median(self, system: str, load: float, measure: Measure) -> float:
        return _median([measure(summary) for summary in self.of(system, load)])

    def best(self, load: float, measure: Measure) -> str:
        """The other system whose median is highest; ValueError where there is none."""
        measured = [system for system in self.others if self.of(system, load)]
        return max(measured, key=lambda system: self.median(system, load, measure))

    def ratios(self, other: str, load: float, measure: Measure) -> list[float]:
        """Ours over theirs, repetition by repetition; both had the same calls."""
        pairs = zip(self.of(OURS.name, load), self.of(other, load), strict=False)
        found = [measure(ours) / measure(theirs) for ours, theirs in pairs]
        return [ratio for ratio in found if math.isfinite(ratio)]


def add_claims(report: Report, runs: Runs) -> None:
    p99 = TOLD["p99_ms"][0]
    for load in COMPARED:
        best = runs.best(load, count_good)
        ratios = runs.ratios(best, load, count_good)
        report.add(f"goodput_ratio_{load}x", ratios, f"x {best}", target=2.0)
        # Against the one with most images in time: who serves next to nobody is quick at it.
        if ratios := runs.ratios(best, load, p99):
            report.add(f"p99_ratio_{load}x", ratios, f"x {best}", target=0.5, better="lower")
    _add_own(report, runs)
    for load in COMPARED:
        for system in runs.others:
            ratios = runs.ratios(system, load, count_good)
            report.add(f"goodput_over_{_slug(system)}_{load}x", ratios, "x")
    _add_rows(report, runs)


def _add_own(report: Report, runs: Runs) -> None:
    """What we promise by ourselves."""
    ours, middle = OURS.name, COMPARED[-1]
    goodput = TOLD["goodput"][0]
    peak = max(runs.median(ours, load, goodput) for load in runs.loads(ours))
    shares = [summary.goodput / peak for summary in runs.of(ours, HIGHEST)]
    report.add("goodput_at_3x_of_peak", shares, "share", target=0.9)
    kept = [s.admitted_in_time for s in runs.of(ours, middle) if math.isfinite(s.admitted_in_time)]
    if kept:
        report.add(f"admitted_in_time_{middle}x", kept, "share", target=0.99)
    refusals = [s.refusal_p99_s for s in runs.of(ours, middle) if math.isfinite(s.refusal_p99_s)]
    if refusals:
        values = [1e3 * seconds for seconds in refusals]
        report.add(f"refusal_p99_ms_{middle}x", values, "ms", target=10.0, better="lower")


def _add_rows(report: Report, runs: Runs) -> None:
    for system in runs.systems:
        for load in runs.loads(system):
            for name, (measure, unit) in TOLD.items():
                values = [measure(summary) for summary in runs.of(system, load)]
                if values := [value for value in values if math.isfinite(value)]:
                    report.add(f"{name}_{_slug(system)}_{load}x", values, unit)


def draw(runs: Runs, folder: Path) -> list[Path]:
    """Goodput and latency over load, as PNG."""
    drawn = []
    for name, title, label in (
        ("goodput", "Images within their deadline, over load", "images/s"),
        ("p99_ms", "99th percentile of the latency of images, over load", "ms"),
    ):
        measure = TOLD[name][0]
        lines = {
            system: [Point(x, runs.median(system, x, measure)) for x in runs.loads(system)]
            for system in runs.systems
        }
        path = folder / f"peers_{name.removesuffix('_ms')}.png"
        draw_lines(path, title, lines, "load, in capacities of a bare loop", label)
        drawn.append(path)
    return drawn


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan


def _slug(system: str) -> str:
    return system.lower().replace(" ", "_")
