"""Who steps next: earliest deadline first, with aging, in the bucket of most rows per second.

Plain Python on purpose: it decides, the engine does. Time comes in as an argument.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from server.sampling.pace import Pace

LOOK_AHEAD = 3
"""Rows looked at for a batch, in times of the largest bucket: a decision costs what a batch holds,
not what waits."""

WORTH = 0.02
"""Rows are left out for a better rate only where it is better by more than this."""

BRISK = 0.05
"""Share of the rate that a tick may cost which is over soon."""


class Schedulable(Protocol):
    """What the scheduler knows of a row; only its numbers of rows and ticks may change."""

    @property
    def key(self) -> Hashable:
        """Rows of one key may share a forward: model, latent shape, dtype; nothing else."""
        ...

    @property
    def num_forward_rows(self) -> int:
        """Rows of the forward that the next tick of this row takes: its guidance terms."""
        ...

    @property
    def num_ticks_left(self) -> int: ...

    @property
    def submitted_s(self) -> float: ...

    @property
    def deadline_s(self) -> float | None: ...

    @property
    def is_background(self) -> bool:
        """Whether nobody waits for it."""
        ...


R = TypeVar("R", bound=Schedulable)


class Scheduler(Generic[R]):
    """Holds the rows that want to step, and packs the most urgent into batches.

    A row's urgency is its deadline, but never later than `patience_s` after it came: whoever waits
    longest becomes the most urgent in the end, so nothing starves but rows in the background, which
    take what the others leave. `keep_s` of every deadline are kept back for what comes after
    sampling. Where it costs hardly any rate, a tick takes no longer than `brisk_s`: who comes
    meanwhile waits for its end. Rows stay until they are removed.
    """

    def __init__(
        self,
        pace: Pace,
        patience_s: float = 30.0,
        keep_s: float = 0.0,
        brisk_s: float = math.inf,
    ) -> None:
        self.pace, self.patience_s = pace, patience_s
        self.keep_s, self.brisk_s = keep_s, brisk_s
        self._queues: dict[Hashable, list[tuple[float, int, R]]] = {}
        self._places: dict[int, tuple[Hashable, tuple[float, int, R]]] = {}
        self._num_added = 0

    def __len__(self) -> int:
        return len(self._places)

    def add(self, row: R) -> None:
        if id(row) in self._places:
            return
        self._num_added += 1
        place = (self.urgency(row), self._num_added, row)  # numbered: rows are never compared
        self._places[id(row)] = (row.key, place)
        bisect.insort(self._queues.setdefault(row.key, []), place)

    def remove(self, row: R) -> None:
        if (found := self._places.pop(id(row), None)) is None:
            return
        key, place = found
        queue = self._queues[key]
        del queue[bisect.bisect_left(queue, place)]
        if not queue:
            del self._queues[key]

    def rows(self) -> tuple[R, ...]:
        return tuple(place[2] for _, place in self._places.values())

    def urgency(self, row: R) -> float:
        patience_s = math.inf if row.is_background else self.patience_s
        return find_urgency(row.submitted_s, row.deadline_s, patience_s)

    def next_batch(self, now_s: float) -> list[R]:
        """The most urgent row of all, and of its key by urgency those that are worth a place.

        At most `pace.largest` forward rows, unless the most urgent row alone takes more.
        """
        if not self._queues:
            return []
        queue = min(self._queues.values(), key=lambda waiting: waiting[0])
        rows = [place[2] for place in queue[: LOOK_AHEAD * self.pace.largest]]
        sizes = [row.num_forward_rows for row in rows]
        room = self._choose_room(self._places[id(rows[0])][0], rows, sizes, now_s)
        return [rows[index] for index in _pack(sizes, room)]

    def _choose_room(
        self, key: Hashable, rows: Sequence[R], sizes: Sequence[int], now_s: float
    ) -> int:
        """The bucket hoped to step most rows per second, without costing one its deadline.

        What fits is tried from the most urgent on, one row more each time. A bucket once chosen is
        filled to the brim: a place in it that stays empty costs as much.
        """
        prefixes: list[tuple[int, float]] = []
        num_rows, slack_s = 0, math.inf
        for index in _pack(sizes, self.pace.largest):
            num_rows += sizes[index]
            slack_s = min(slack_s, self._slack_s(key, rows[index], sizes[index], now_s))
            if self.pace.tick_s(key, num_rows) <= slack_s or not prefixes:
                hoped_s = self.pace.hoped_tick_s(key, num_rows)
                prefixes.append((num_rows, num_rows / hoped_s if hoped_s else math.inf))
        best = max(rate for _, rate in prefixes)
        num_rows = max(num for num, rate in prefixes if rate >= (1 - WORTH) * best)
        if self.pace.tick_s(key, num_rows) > self.brisk_s:
            good = [num for num, rate in prefixes if rate >= (1 - BRISK) * best]
            brisk = [num for num in good if self.pace.tick_s(key, num) <= self.brisk_s]
            num_rows = max(brisk, default=min(good))
        return num_rows if num_rows > self.pace.largest else self.pace.bucket(num_rows)

    def _slack_s(self, key: Hashable, row: R, size: int, now_s: float) -> float:
        """How long each tick of this row may take; any time where no haste could save it."""
        if row.deadline_s is None:
            return math.inf
        slack_s = (row.deadline_s - now_s - self.keep_s) / max(row.num_ticks_left, 1)
        return slack_s if slack_s >= self.pace.tick_s(key, size) else math.inf


def find_urgency(submitted_s: float, deadline_s: float | None, patience_s: float) -> float:
    latest = submitted_s + patience_s
    return latest if deadline_s is None else min(deadline_s, latest)


def _pack(sizes: Sequence[int], room: int) -> list[int]:
    """Which sizes fit, the first come first and always; who is too large lets others by."""
    packed = [0]
    room -= sizes[0]
    for index in range(1, len(sizes)):
        if room <= 0:
            break
        if sizes[index] <= room:
            packed.append(index)
            room -= sizes[index]
    return packed


def decision_s(
    scheduler: Scheduler[R], now_s: float, clock: Callable[[], float], num_times: int = 101
) -> float:
    """Median seconds of one decision over the rows that wait, for the claim of a benchmark."""
    spans = []
    for _ in range(num_times):
        started_s = clock()
        scheduler.next_batch(now_s)
        spans.append(clock() - started_s)
    return statistics.median(spans)
