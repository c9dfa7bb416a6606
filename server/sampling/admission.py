"""Whether rows that come now would be done in time, by measured ticks: a pure look ahead."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from server.sampling.pace import Pace

EFFICIENCY = 0.45
"""Share of the best measured rate at which the work ahead of a row is promised to go.

The rest is for small ticks, which tight deadlines force, and for rows that come later with earlier
deadlines. In the simulated crowd of the tests, at 3 times capacity, all of the admitted are in time
with 0.45; with 0.7 it is 98.7 %, and a third fewer images.
"""

PRUDENCE = 0.9
"""Share of the time left that an engine counts on: a machine may slow down for a while.

In the simulated crowd, where ticks take twice as long for 4 seconds of every 8, it brings the
admitted in time from 95.5 to 97.4 % at 3 times capacity, and from 93.4 to 94.9 % at 10.
"""


TickSeconds = Callable[[Hashable, int], float]


@dataclass(frozen=True, slots=True)
class Demand:
    """What one row, open or new, still wants of the device.

    `urgency_s` is the scheduler's, where that is not the deadline; a row with neither goes last.
    """

    deadline_s: float | None
    num_ticks_left: int
    num_forward_rows_left: int
    key: Hashable
    urgency_s: float | None = None

    @property
    def urgency(self) -> float:
        if self.urgency_s is not None:
            return self.urgency_s
        return math.inf if self.deadline_s is None else self.deadline_s


class Forecast:
    """What becomes of new rows, and of the open ones because of them, if all come as they are now.

    A row waits for all work that is as urgent as its own, and then walks its own chain of ticks.
    Only `prudence` of the time left is counted on, and `margin_s` of it are kept back for what
    comes after sampling. Where no tick was ever measured, all work takes no time.
    """

    def __init__(
        self,
        pace: Pace,
        open_demands: Sequence[Demand],
        now_s: float,
        margin_s: float = 0.0,
        efficiency: float = EFFICIENCY,
        prudence: float = 1.0,
    ) -> None:
        self._pace, self._end_s = pace, now_s + margin_s
        self._efficiency, self._prudence = efficiency, prudence
        self._rates: dict[Hashable, float] = {}
        demands = sorted(open_demands, key=lambda demand: demand.urgency)
        self._urgencies = [demand.urgency for demand in demands]
        self._work_until_s = [0.0]
        for demand in demands:
            self._work_until_s.append(self._work_until_s[-1] + self._work_s(demand))
        self._spare_s = [math.inf]  # by place: the least that work may take that is put before it
        for place in range(len(demands) - 1, -1, -1):
            spare_s = self._spare_of(demands[place], place)
            self._spare_s.append(min(self._spare_s[-1], spare_s))
        self._spare_s.reverse()

    def finish_s(self, new: Sequence[Demand]) -> float:
        """Seconds until the last of these rows is sampled; 0 for none."""
        return max((finish_s for *_, finish_s in self._walk(new, 0.0)), default=0.0)

    def admits(self, new: Sequence[Demand]) -> bool:
        """Whether these rows meet their deadlines and cost no open row its own."""
        return self._fits(new, 0.0)

    def retry_after_s(self, new: Sequence[Demand]) -> float:
        """Seconds after which they would fit, with deadlines as far off as now, if no other comes.

        0 where they fit now, infinite where an idle device could not do it either.
        """
        if self._fits(new, 0.0):
            return 0.0
        waits = self._work_until_s  # the moments at which an open row is done at full rate
        if not self._fits(new, waits[-1]):
            return math.inf
        return waits[bisect.bisect_left(waits, True, key=lambda wait_s: self._fits(new, wait_s))]

    def _fits(self, new: Sequence[Demand], wait_s: float) -> bool:
        num_done = bisect.bisect_right(self._work_until_s, wait_s) - 1
        return all(
            finish_s <= self._limit_s(demand) and added_s <= self._spare_s[max(place, num_done)]
            for demand, place, added_s, finish_s in self._walk(new, wait_s)
        )

    def _walk(
        self, new: Sequence[Demand], wait_s: float
    ) -> Iterator[tuple[Demand, int, float, float]]:
        """Each new row with its place among the open ones, the new work up to it, and its finish.

        The work of its own request is known and takes the full rate in its finish.
        """
        added_s = 0.0
        for demand in sorted(new, key=lambda demand: demand.urgency):
            place = bisect.bisect_right(self._urgencies, demand.urgency + wait_s)
            ahead_s = max(self._work_until_s[place] - wait_s, 0.0) / self._efficiency
            finish_s = ahead_s + added_s + self._chain_s(demand)
            added_s += self._work_s(demand)
            yield demand, place, added_s / self._efficiency, finish_s

    def _spare_of(self, demand: Demand, place: int) -> float:
        """A row whose promise is used up bears no more; one that no haste can save bears all.

        What prudence keeps back is for those who are late already: they are not given up for it.
        """
        if demand.deadline_s is None:
            return math.inf
        at_best_s = self._chain_s(demand, self._pace.best_tick_s)
        if max(self._work_until_s[place + 1], at_best_s) > demand.deadline_s - self._end_s:
            return math.inf
        ahead_s = self._work_until_s[place] / self._efficiency
        return max(self._limit_s(demand) - self._chain_s(demand) - ahead_s, 0.0)

    def _limit_s(self, demand: Demand) -> float:
        if demand.deadline_s is None:
            return math.inf
        return self._prudence * (demand.deadline_s - self._end_s)

    def _work_s(self, demand: Demand) -> float:
        """Seconds of the device in the best of batches."""
        if (rate := self._rates.get(demand.key)) is None:
            rate = self._rates[demand.key] = self._pace.rate(demand.key)
        return demand.num_forward_rows_left / rate

    def _chain_s(self, demand: Demand, tick_s: TickSeconds | None = None) -> float:
        """Seconds of its own ticks, one after the other, with nobody beside it; unless told else,
        should the machine be as slow again as it was of late."""
        num_ticks = max(demand.num_ticks_left, 1)
        num_rows = math.ceil(demand.num_forward_rows_left / num_ticks)
        return num_ticks * (tick_s or self._pace.slow_tick_s)(demand.key, num_rows)
