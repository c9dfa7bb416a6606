"""How full forwards are while a mixed crowd comes and goes: rows per forward over time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.engine_runs import running_engine
from benchmarks.load import KINDS, Kind
from benchmarks.measurement import Report
from benchmarks.plots import Lines, Point, draw_lines
from server.sampling.engine import Engine
from server.sampling.forward import SamplingModel
from server.sampling.observer import Silence
from server.sampling.row import RowRequest, Ticket

HIGHEST = 1.2
"""Load in the middle of the wave, in capacities; at both ends it is nothing."""

NUM_BINS = 12
MakeKind = Callable[[int, Kind], RowRequest]


class Trace(Silence):
    """When each forward ended, its rows and its places."""

    def __init__(self) -> None:
        self.forwards: list[tuple[float, int, int]] = []

    def tick(self, model: str, bucket: int, num_rows: int, seconds: float) -> None:
        self.forwards.append((time.monotonic(), num_rows, bucket))


async def measure_packing(
    report: Report, model: SamplingModel, warm: RowRequest, make: MakeKind, wave_s: float
) -> Path:
    """Writes a plot beside the report. The crowd asks for 4 to 50 steps of 1 to 3 rows."""
    trace = Trace()
    with running_engine([model], [warm], observer=trace) as engine:
        started_s = time.monotonic()
        await _send_wave(engine, engine.pace.rate(engine.key_of(model.name)), make, wave_s)
    found = np.array(trace.forwards)
    at_s, rows, places = found[:, 0] - started_s, found[:, 1], found[:, 2]
    report.add("rows_per_forward_in_a_wave", [float(rows.mean())], "rows")
    fullness = [float(rows.sum() / places.sum())]
    report.add("forwards_filled_in_a_wave", fullness, "of places")
    step_s = float(at_s[-1]) / NUM_BINS
    bins = np.minimum((at_s / step_s).astype(int), NUM_BINS - 1)
    lines: Lines = {
        name: [
            Point(round(step_s * (number + 0.5), 1), float(values[bins == number].mean()))
            for number in np.unique(bins).tolist()
        ]
        for name, values in (("rows", rows), ("with padding", places))
    }
    path = report.options.out / "engine_rows_per_forward.png"
    draw_lines(path, "Rows per forward, as a crowd comes and goes", lines, "seconds", "rows")
    return path


async def _send_wave(engine: Engine, rate: float, make: MakeKind, wave_s: float) -> None:
    """Open loop: each comes at its moment, however many are under way; ends with the last."""
    rng = np.random.default_rng(0)
    mean_rows = float(np.mean([kind.num_steps * kind.num_terms for kind in KINDS]))
    tickets: list[Ticket] = [engine.submit([make(0, KINDS[0])])]
    now_s, started_s = 0.0, time.monotonic()
    while True:
        now_s += rng.exponential(mean_rows / (HIGHEST * rate))
        if now_s >= wave_s:
            break
        if rng.random() >= 1 - abs(2 * now_s / wave_s - 1):  # thinned to a triangle
            continue
        await asyncio.sleep(max(0.0, started_s + now_s - time.monotonic()))
        kind = KINDS[int(rng.integers(len(KINDS)))]
        tickets.append(engine.submit([make(len(tickets), kind)]))
    for ticket in tickets:
        await ticket.result
