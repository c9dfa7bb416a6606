"""Whether a limit on how many are inside does as well as admission by predicted time.

On a virtual clock, with the server's own scheduler, pace and forecast: the crowd of `engine`'s
deadlines comes at 3 and at 10 times capacity. Who is let in is decided by the forecast, or by a
limit: the best constant one of many, one that grows and shrinks by measured latency over the
unloaded (AIMD), and Envoy's gradient. An adaptive limit can at best find the best constant one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.measurement import Report
from server.sampling.admission import PRUDENCE
from tests.server.sampling.test_admission import TICKS_S, Row, Simulation

LOADS = (3.0, 10.0)
CONSTANTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


class Limit(Protocol):
    """How many may be inside now."""

    value: float

    def note(self, ratio: float) -> None:
        """One has left, after so many times what it takes alone."""


@dataclass(slots=True)
class Constant:
    value: float

    def note(self, ratio: float) -> None:
        """Nothing is learnt."""


@dataclass(slots=True)
class Aimd:
    """One more for each round of those inside as long as nobody takes twice their time."""

    value: float = 8.0

    def note(self, ratio: float) -> None:
        grown = self.value + 1 / self.value
        self.value = grown if ratio <= 2 else max(1.0, 0.95 * self.value)


@dataclass(slots=True)
class Gradient:
    """Of the unloaded latency over the present one, with room to queue of a square root."""

    value: float = 8.0
    _ratio: float = 1.0

    def note(self, ratio: float) -> None:
        self._ratio += 0.1 * (ratio - self._ratio)
        gradient = min(max(1 / self._ratio, 0.5), 1.0)
        wanted = min(self.value * gradient + math.sqrt(self.value), 256.0)
        self.value += 0.1 * (wanted - self.value)


@dataclass
class Limited(Simulation):
    """Lets in by a limit instead of the forecast."""

    limit: Limit = field(default_factory=Aimd)

    def tick(self, batch: list[Row]) -> None:
        super().tick(batch)  # type: ignore[no-untyped-call]
        for row in batch:
            if not row.num_ticks_left:
                alone_s = (row.deadline_s - row.submitted_s) / 3
                self.limit.note((self.now_s - row.submitted_s) / alone_s)

    def let_in(self) -> None:
        while self.coming and (row := self.coming[-1]).submitted_s <= self.now_s:
            self.coming.pop()
            if len(self.scheduler) + 1 <= self.limit.value:
                self.scheduler.add(row)


def measure(report: Report, is_quick: bool) -> None:
    span_s = 20.0 if is_quick else 120.0
    assert TICKS_S, "the crowd's"
    for load in LOADS:
        ours = Simulation(load, prudence=PRUDENCE, span_s=span_s)
        constants = [Limited(load, span_s=span_s, limit=Constant(n)) for n in CONSTANTS]
        learnt = {
            "best_constant": max(constants, key=lambda run: run.goodput),
            "aimd": Limited(load, span_s=span_s, limit=Aimd()),
            "gradient": Limited(load, span_s=span_s, limit=Gradient()),
        }
        name = f"admission_at_{load:g}x"
        report.add(f"{name}.in_time", [ours.share_met], "share", target=0.99)
        for limit, run in learnt.items():
            ratio = ours.goodput / run.goodput
            report.add(f"{name}.goodput_over_{limit}", [ratio], "x", target=1.0)
            report.add(f"{name}.{limit}_in_time", [run.share_met], "share")
