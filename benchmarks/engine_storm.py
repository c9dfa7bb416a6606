"""Who leaves, who is turned away, who decides: cancel storms, refusals, scheduler decisions."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from benchmarks.engine_runs import Make, count_equal, sample
from benchmarks.measurement import Report
from server.core import ImageRequest, Pixels
from server.errors import DeadlineExceeded, Overloaded
from server.rows import Defaults, find_steps
from server.sampling.engine import Engine, EngineLimits
from server.sampling.pace import Pace
from server.sampling.router import Router
from server.sampling.row import RowRequest, Ticket
from server.sampling.scheduler import Scheduler, decision_s

MEBIBYTE = 1024 * 1024
STRICT = EngineLimits(
    (8,), max_rows=1024, is_strict=True, shared_latents_bytes=16 * MEBIBYTE
)  # a small bucket: a storm is about who leaves, not about speed
SETTLED = 2
"""Storms after which memory has grown to what it needs."""


@dataclass(frozen=True, slots=True)
class Storm:
    """What became of those who stayed, and the forward rows done after each cancel."""

    pixels: list[Pixels]
    rows_after: list[int]
    num_rows_held: int


@dataclass(slots=True)
class Victim:
    """Leaves as soon as it is told of step `stop`; 0 leaves before its first."""

    request: RowRequest
    stop: int
    ticket: Ticket | None = None
    num_rows_before: int | None = None

    def submit(self, engine: Engine) -> None:
        self.ticket = engine.submit([self.request], self.on_step)
        if not self.stop:
            self.cancel()

    def on_step(self, step: int, _: Tensor) -> None:
        if step >= self.stop and self.num_rows_before is None:
            self.cancel()

    def cancel(self) -> None:
        assert self.ticket is not None
        self.num_rows_before = self.ticket.num_forward_rows
        self.ticket.release()

    @property
    def num_rows_after(self) -> int:
        assert self.ticket is not None and self.num_rows_before is not None
        return self.ticket.num_forward_rows - self.num_rows_before


async def storm(engine: Engine, stayers: Sequence[RowRequest], victims: Sequence[Victim]) -> Storm:
    """All come at once, in mixed order; ends when the last has gone."""
    tickets: dict[int, Ticket] = {}
    order = np.random.default_rng(len(victims)).permutation(len(stayers) + len(victims))
    for number in order.tolist():
        if number < len(stayers):
            tickets[number] = engine.submit([stayers[number]])
        else:
            victims[number - len(stayers)].submit(engine)
    pixels = [(await tickets[number].result)[0] for number in range(len(stayers))]
    while any(victim.num_rows_before is None for victim in victims):
        await asyncio.sleep(0.01)
    await _until(lambda: not engine.num_rows)
    return Storm(pixels, [victim.num_rows_after for victim in victims], engine.num_rows)


async def measure_storms(
    report: Report, quiet: Engine, engine: Engine, make: Make, sizes: tuple[int, int, int]
) -> None:
    """`sizes`: storms, those who stay and those who leave; both engines are strict."""
    num_storms, num_stayers, num_victims = sizes
    stayers = [make(number) for number in range(num_stayers)]
    calm = await sample(quiet, stayers)
    rng = np.random.default_rng(0)
    after: list[list[int]] = []
    held, equal, sizes_mb = [], [], []
    for number in tqdm(range(num_storms), "storms", leave=False):
        first = num_stayers + number * num_victims
        requests = [make(first + index) for index in range(num_victims)]
        victims = [Victim(r, int(rng.integers(r.plan[-1].step))) for r in requests]
        found = await storm(engine, stayers, victims)
        after.append(found.rows_after)
        held.append(float(found.num_rows_held))
        equal.append(count_equal(calm.pixels, found.pixels) / num_stayers)
        del requests, victims, found  # what the storm left with us is not the engine's
        sizes_mb.append(measure_memory_mb())
    means = [float(np.mean(each)) for each in after]
    worst = float(max(map(max, after)))
    report.add("cancel_rows_after", means, "rows", target=1.0, better="lower")
    report.add("cancel_rows_after_worst", [worst], "rows", target=1.0, better="lower")
    report.add("cancel_rows_held", held, "rows", target=0.0, better="lower")
    report.add("cancel_stayers_equal", equal, "share", target=1.0)
    if num_storms > SETTLED + 1:
        growth = [size - sizes_mb[SETTLED] for size in sizes_mb[SETTLED + 1 :]]
        report.add("cancel_memory_growth", growth, "MB", target=MAX_GROWTH_MB, better="lower")


MAX_GROWTH_MB = 16.0
"""What counts as flat: allocators breathe."""


def measure_memory_mb() -> float:
    """Resident memory of this process; 0 where the system does not tell."""
    gc.collect()
    try:
        num_pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return num_pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


async def measure_refusals(
    report: Report, engine: Engine, make: Make, num_rounds: int, num_calls: int
) -> None:
    """Turned away while the engine is full and walks: for a deadline, and for want of room."""
    router = Router([engine])
    held: list[Ticket] = []

    async def refuse(left_s: float | None) -> float:
        await asyncio.sleep(0.002)  # the loop has other things to do as well
        while engine.num_rows < engine.limits.max_rows:  # some have ended meanwhile
            held.append(engine.submit([make(len(held))]))
        return _refuse(router, late, left_s)

    late = make(2**31)
    try:
        for name, left_s in (("deadline", 0.5), ("full", None)):
            p99s_ms = [
                float(np.quantile([await refuse(left_s) for _ in range(num_calls)], 0.99))
                for _ in range(num_rounds)
            ]
            report.add(f"refusal_{name}_p99", p99s_ms, "ms", target=5.0, better="lower")
    finally:
        for ticket in held:
            ticket.release()
        await _until(lambda: not engine.num_rows)


def _refuse(router: Router, row: RowRequest, left_s: float | None) -> float:
    """Milliseconds of one refusal."""
    deadline_s = None if left_s is None else time.monotonic() + left_s
    rows = [RowRequest(row.model, row.seed, row.plan, row.walk, deadline_s)]
    request = ImageRequest("any", deadline_s=deadline_s)
    started_s = time.perf_counter()
    try:
        find_steps(rows, request, router, Defaults())
        router.submit(rows).release()
    except (Overloaded, DeadlineExceeded):
        return 1e3 * (time.perf_counter() - started_s)
    raise RuntimeError("a full engine took one more row")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row as the scheduler knows it."""

    key: Hashable
    num_forward_rows: int
    num_ticks_left: int
    submitted_s: float
    deadline_s: float | None
    is_background: bool = False


def measure_decisions(
    report: Report, pace: Pace, key: Hashable, tick_s: float, num_rows: int
) -> None:
    """Of a tick of one row, the shortest there is; `pace` knows the ticks of `key`."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(5):
        scheduler: Scheduler[Waiting] = Scheduler(pace)
        for _ in range(num_rows):
            deadline_s = float(rng.uniform(1, 60)) if rng.random() < 0.7 else None
            size, left = int(rng.integers(1, 4)), int(rng.integers(1, 51))
            scheduler.add(Waiting(key, size, left, float(rng.uniform(-5, 0)), deadline_s))
        shares.append(decision_s(scheduler, 0.0, time.perf_counter) / tick_s)
    report.add("decision_of_1000_rows", shares, "of a tick", target=0.01, better="lower")


async def _until(is_so: Callable[[], bool], timeout_s: float = 10.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < end_s:
        await asyncio.sleep(0.005)
