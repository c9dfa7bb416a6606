"""A fleet in no real time: what decides is the real thing, and what it decides of takes its time.

The scheduler, the forecast of admission, the pace and the placement are those that serve; only
forwards are left out, and last as long as was measured. Events are arrivals, ends of forwards and
deaths of replicas.
"""

from __future__ import annotations

import gc
import heapq
import math
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from server.fleet.placement import Placement
from server.sampling.admission import PRUDENCE, Demand, Forecast
from server.sampling.pace import Pace
from server.sampling.scheduler import Scheduler, find_urgency

KEY = "simulated"
PATIENCE_S = 30.0
BRISK_S = 0.05
AHEAD_IMAGES = 2
"""Images by which a replica may be ahead of the mean whatever the load."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`tick_s` is by forward rows; images come at random, their walks (products and tastes) by
    popularity: the k-th 1/k as often. Of `num_steps` the first `num_shared` are the same for all of
    one walk, and `num_kept` such states are kept by each replica. In the middle `num_lost` replicas
    die. Where it `is_scattered`, images go anywhere, for comparison."""

    num_replicas: int
    tick_s: Mapping[int, float]
    images_per_s: float
    num_steps: int
    num_terms: int = 1
    duration_s: float = 600.0
    deadline_s: float = math.inf
    num_walks: int = 50_000
    num_shared: int = 0
    num_kept: int = 64
    num_lost: int = 0
    is_scattered: bool = False
    seed: int = 0


@dataclass(slots=True)
class Findings:
    """What became of all images that were asked for; latencies are of those that were made."""

    num_asked: int = 0
    num_made: int = 0
    num_late: int = 0
    num_refused: int = 0
    num_dropped: int = 0
    num_moved: int = 0
    num_steps: int = 0
    num_steps_shared: int = 0
    num_ticks: int = 0
    num_tick_rows: int = 0
    busy_s: float = 0.0
    simulated_s: float = 0.0
    wall_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def in_time(self) -> float:
        """Of the images that were let in."""
        num_admitted = self.num_asked - self.num_refused
        return (self.num_made - self.num_late) / num_admitted if num_admitted else math.nan

    @property
    def num_lost(self) -> int:
        """Of which nobody heard again."""
        return self.num_asked - self.num_made - self.num_refused - self.num_dropped

    @property
    def shared(self) -> float:
        """Share of all steps that was taken over."""
        return self.num_steps_shared / self.num_steps if self.num_steps else 0.0

    def quantile_s(self, share: float) -> float:
        return float(np.quantile(self.latencies_s, share)) if self.latencies_s else math.nan


class SteadyPace(Pace):
    """One that nothing changes: looked up, not computed."""

    def __init__(self, tick_s: Mapping[int, float]) -> None:
        super().__init__(sorted(tick_s))
        for rows, seconds in tick_s.items():
            self.record(KEY, rows, seconds)
        self._table = [0.0] + [
            super(SteadyPace, self).tick_s(KEY, n + 1) for n in range(self.largest)
        ]
        self._rate = super().rate(KEY)

    def tick_s(self, key: Hashable, num_forward_rows: int) -> float:
        if num_forward_rows < len(self._table):
            return self._table[num_forward_rows]
        return super().tick_s(key, num_forward_rows)

    def rate(self, key: Hashable) -> float:
        return self._rate


class Image:
    """A row as the scheduler sees it."""

    __slots__ = (
        "deadline_s",
        "is_background",
        "key",
        "num_forward_rows",
        "num_ticks_left",
        "submitted_s",
        "walk",
    )

    def __init__(
        self, submitted_s: float, deadline_s: float | None, walk: int, num_ticks: int, size: int
    ) -> None:
        self.key: Hashable = KEY
        self.submitted_s, self.deadline_s, self.walk = submitted_s, deadline_s, walk
        self.num_ticks_left, self.num_forward_rows = num_ticks, size
        self.is_background = False


class Machine:
    """A replica: its rows, and the walks that it keeps."""

    __slots__ = ("batch", "images", "is_alive", "kept", "name", "number", "scheduler")

    def __init__(self, number: int, pace: Pace) -> None:
        self.name, self.number = f"replica-{number}", number
        self.scheduler: Scheduler[Image] = Scheduler(pace, PATIENCE_S, brisk_s=BRISK_S)
        self.images: dict[Image, None] = {}
        self.kept: OrderedDict[int, None] = OrderedDict()
        self.batch: list[Image] = []
        self.is_alive = True


class Simulation:
    """One run of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.findings = scenario, Findings()
        self._pace = SteadyPace(scenario.tick_s)
        self._loads = [0.0] * scenario.num_replicas
        self._place([Machine(number, self._pace) for number in range(scenario.num_replicas)])
        self._events: list[tuple[float, int, Machine]] = []
        self._num_events = 0
        self._margin = AHEAD_IMAGES * scenario.num_steps * scenario.num_terms

    def run(self) -> Findings:
        started_s = time.perf_counter()
        lost_s = self.scenario.duration_s / 2 if self.scenario.num_lost else math.inf
        with without_collector():
            for now_s, walk in self._draw():
                if now_s >= lost_s:
                    self._finish_until(lost_s)
                    self._lose(lost_s)
                    lost_s = math.inf
                self._finish_until(now_s)
                self.findings.num_asked += 1
                due_s = now_s + self.scenario.deadline_s
                self._arrive(now_s, now_s, None if due_s == math.inf else due_s, walk)
            self._finish_until(math.inf)
        self.findings.wall_s = time.perf_counter() - started_s
        return self.findings

    def _draw(self) -> Iterator[tuple[float, int]]:
        """Moments and walks of images, in order."""
        told, rng = self.scenario, np.random.default_rng(self.scenario.seed)
        shares: NDArray[np.float64] = np.cumsum(1 / np.arange(1, told.num_walks + 1))
        now_s = 0.0
        while True:
            pauses = rng.exponential(1 / told.images_per_s, 4096)
            walks = np.searchsorted(shares, rng.uniform(0, shares[-1], 4096))
            for pause_s, walk in zip(pauses.tolist(), walks.tolist(), strict=True):
                now_s += pause_s
                if now_s >= told.duration_s:
                    return
                yield now_s, walk

    def _arrive(self, now_s: float, asked_s: float, due_s: float | None, walk: int) -> None:
        told = self.scenario
        mean = self._total / len(self._loads)
        place = self.findings.num_asked if told.is_scattered else walk
        key = place.to_bytes(8, "little")
        machine = self._machines[self._placement.order(key, self._loads, mean, self._margin)[0]]
        num_ticks = told.num_steps
        if walk in machine.kept:
            machine.kept.move_to_end(walk)
            num_ticks -= told.num_shared
        image = Image(asked_s, due_s, walk, num_ticks, told.num_terms)
        if due_s is not None and not self._admits(machine, image, now_s):
            self.findings.num_refused += 1
            return
        self.findings.num_steps += told.num_steps
        self.findings.num_steps_shared += told.num_steps - num_ticks
        machine.images[image] = None
        machine.scheduler.add(image)
        self._charge(machine, num_ticks * told.num_terms)
        if not machine.batch:
            self._begin(machine, now_s)

    def _admits(self, machine: Machine, image: Image, now_s: float) -> bool:
        """As server.sampling.engine asks."""
        demands = [_demand(each, machine.scheduler.urgency(each)) for each in machine.images]
        slowest_s = self._pace.tick_s(KEY, self._pace.largest) if demands else 0.0
        forecast = Forecast(self._pace, demands, now_s, slowest_s / 4, prudence=PRUDENCE)
        urgency_s = find_urgency(now_s, image.deadline_s, PATIENCE_S)
        return forecast.admits([_demand(image, urgency_s)])

    def _begin(self, machine: Machine, now_s: float) -> None:
        """The next forward of a replica, if there is anything to do."""
        machine.batch = machine.scheduler.next_batch(now_s)
        if not machine.batch:
            return
        num_rows = len(machine.batch) * self.scenario.num_terms
        tick_s = self._pace.tick_s(KEY, num_rows)
        self.findings.num_ticks += 1
        self.findings.num_tick_rows += num_rows
        self.findings.busy_s += tick_s
        self._num_events += 1
        heapq.heappush(self._events, (now_s + tick_s, self._num_events, machine))

    def _finish_until(self, end_s: float) -> None:
        """All forwards that end by then, each followed by the next."""
        events = self._events
        while events and events[0][0] <= end_s:
            now_s, _, machine = heapq.heappop(events)
            if not machine.is_alive:
                continue
            self.findings.simulated_s = now_s
            for image in machine.batch:
                image.num_ticks_left -= 1
                if not image.num_ticks_left:
                    self._leave(machine, image)
                    self._tell(machine, image, now_s)
            self._charge(machine, -len(machine.batch) * self.scenario.num_terms)
            self._drop_dead(machine, now_s)
            self._begin(machine, now_s)

    def _tell(self, machine: Machine, image: Image, now_s: float) -> None:
        self.findings.num_made += 1
        self.findings.num_late += image.deadline_s is not None and now_s > image.deadline_s
        self.findings.latencies_s.append(now_s - image.submitted_s)
        if self.scenario.num_shared:
            machine.kept[image.walk] = None
            machine.kept.move_to_end(image.walk)
            if len(machine.kept) > self.scenario.num_kept:
                machine.kept.popitem(last=False)

    def _drop_dead(self, machine: Machine, now_s: float) -> None:
        """Who can't be in time any more leaves, as in the engine."""
        alone_s = self._pace.tick_s(KEY, self.scenario.num_terms)
        dead = [
            image
            for image in machine.images
            if image.deadline_s is not None
            and now_s + image.num_ticks_left * alone_s >= image.deadline_s
        ]
        for image in dead:
            self._leave(machine, image)
            self._charge(machine, -image.num_ticks_left * self.scenario.num_terms)
            self.findings.num_dropped += 1

    def _leave(self, machine: Machine, image: Image) -> None:
        machine.scheduler.remove(image)
        del machine.images[image]

    def _lose(self, now_s: float) -> None:
        """Replicas die at once, and their images begin anew elsewhere."""
        lost = self._machines[: self.scenario.num_lost]
        self._place(self._machines[self.scenario.num_lost :])
        orphans: list[Image] = []
        for machine in lost:
            machine.is_alive = False
            orphans += machine.images
        for image in orphans:
            self.findings.num_moved += 1
            self.findings.num_steps -= self.scenario.num_steps
            self._arrive(now_s, image.submitted_s, image.deadline_s, image.walk)

    def _place(self, machines: list[Machine]) -> None:
        """These are all that there are."""
        loads = [self._loads[machine.number] for machine in machines]
        self._machines, self._loads, self._total = machines, loads, sum(loads)
        for number, machine in enumerate(machines):
            machine.number = number
        self._placement = Placement([machine.name for machine in machines])

    def _charge(self, machine: Machine, num_rows: float) -> None:
        self._loads[machine.number] += num_rows
        self._total += num_rows


def simulate(scenario: Scenario) -> Findings:
    return Simulation(scenario).run()


@contextmanager
def without_collector() -> Iterator[None]:
    """Nothing here is a cycle; to look for them takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _demand(image: Image, urgency_s: float) -> Demand:
    num_rows = image.num_ticks_left * image.num_forward_rows
    return Demand(image.deadline_s, image.num_ticks_left, num_rows, KEY, urgency_s)
