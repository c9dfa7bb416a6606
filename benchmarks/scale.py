"""Where one machine ends: what Ray adds to an image, and a thousand replicas in no real time.

`python -m benchmarks.scale [--quick]`. What Ray adds is measured at the door: from a request's rows
to its pixels, less what the replica itself took to queue, sample and decode. The simulation runs
the real scheduler, admission and placement for SDXL at 1024 pixels, with figures of a forward that
nobody measured here; with `--quick` it is a tenth as long, and told for the whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import quantiles

import torch
import uvloop

from benchmarks.gpu import MadeUpCrowd
from benchmarks.measurement import Options, Report, parse_options
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.model import ProductDiffusion
from server.capacity.figures import KINDS, UNMEASURED
from server.capacity.simulation import Findings, Scenario, simulate
from server.commands.building import engine_limits
from server.commands.replicas import BUILT_IN, open_built_in
from server.configuration import EngineSlice, ModelSlice, ReplicasSlice
from server.fleet.cluster import Cluster, Recipe
from server.fleet.orders import pack_rows, unpack_rows
from server.fleet.pool import Pool, RemoteTicket
from server.sampling.row import RowRequest

MAX_ADDED_MS = 5.0
MAX_WALL_S = 120.0
NUM_STEPS = 4
NUM_REPLICAS = 1000
DEADLINE_S = 30.0
LOAD = 0.75
"""Of what the fleet can, without what it shares."""


@dataclass(frozen=True, slots=True)
class Size:
    num_images: int
    minutes: float


FULL, QUICK = Size(300, 10.0), Size(40, 1.0)


async def measure_ray(report: Report, num_images: int) -> None:
    """One replica; one request at a time, and then sixteen."""
    engine = EngineSlice(device="cpu", threads=1)
    limits = engine_limits(engine)
    cluster = Cluster(ReplicasSlice(max_replicas=1), limits)
    cluster.start()
    try:
        model = ProductDiffusion.load(DEFAULT_CHECKPOINT)
        recipe = Recipe(BUILT_IN, partial(open_built_in, engine, ModelSlice()), 1)
        transport = await cluster.deploy(recipe)
        pool = Pool(BUILT_IN, {model.name: model.latent_shape}, transport, limits)
        await pool.open()
        crowd = MadeUpCrowd(model)
        rows = [crowd.ask(n % 8, n % 8, n, NUM_STEPS) for n in range(num_images)]
        await time_images(pool, rows[:10], 1)
        for num_open, name in ((1, "ray_adds"), (16, "ray_adds_of_16")):
            added_ms = await time_images(pool, rows, num_open)
            target = MAX_ADDED_MS if num_open == 1 else None
            report.add(f"{name}_p50", added_ms, "ms", target=target, better="lower")
            p99_ms = quantiles(added_ms, n=100, method="inclusive")[98]
            report.add(f"{name}_p99", [p99_ms], "ms", better="lower")
        await pool.shut()
        report.add("packing", time_packing(rows), "ms", better="lower")
        report.add("order", [len(pack_rows(rows[:1])) / 1024], "KiB", better="lower")
    finally:
        await cluster.stop()


async def time_images(pool: Pool, rows: Sequence[RowRequest], num_open: int) -> list[float]:
    """Milliseconds that each image took beyond what its replica says."""
    waiting, added_ms = iter(rows), []

    async def be_client() -> None:
        for row in waiting:
            begun_s = time.perf_counter()
            ticket = pool.submit([row])
            await ticket.result
            taken_s = time.perf_counter() - begun_s
            assert isinstance(ticket, RemoteTicket)
            own_s = ticket.queue_s + ticket.sample_s + ticket.decode_s
            added_ms.append(1e3 * (taken_s - own_s))

    await asyncio.gather(*(be_client() for _ in range(num_open)))
    return added_ms


def time_packing(rows: Sequence[RowRequest]) -> list[float]:
    """Milliseconds to pack the rows of an image, and to unpack them."""
    device, taken_ms = torch.device("cpu"), []
    for row in rows:
        begun_s = time.perf_counter()
        unpack_rows(pack_rows([row]), device)
        taken_ms.append(1e3 * (time.perf_counter() - begun_s))
    return taken_ms


def measure_simulation(report: Report, minutes: float) -> None:
    """A day's peak of SDXL; then the same, with each image sent anywhere."""
    kind, tick_s = KINDS["sdxl"], UNMEASURED["sdxl"]
    best = max(rows / s for rows, s in tick_s.items())
    scenario = Scenario(
        num_replicas=NUM_REPLICAS,
        tick_s=tick_s,
        images_per_s=LOAD * NUM_REPLICAS * best / (kind.num_steps * kind.num_terms),
        num_steps=kind.num_steps,
        num_terms=kind.num_terms,
        duration_s=60 * minutes,
        deadline_s=DEADLINE_S,
        num_shared=12,
        num_lost=10,
    )
    found = simulate(scenario)
    whole_s = found.wall_s * FULL.minutes / minutes
    name = "simulation_of_1000_replicas_for_10_minutes"
    report.add(name, [whole_s], "s", target=MAX_WALL_S, better="lower")
    report.add("simulated_images", [found.num_asked], "images")
    report.add(
        "simulated_lost_with_10_deaths", [found.num_lost], "images", target=0, better="lower"
    )
    report.add("simulated_in_time", [100 * found.in_time], "% of those let in")
    report.add(
        "simulated_refused", [100 * found.num_refused / found.num_asked], "%", better="lower"
    )
    report.add("simulated_p99", [found.quantile_s(0.99)], "s", better="lower")
    report.add("simulated_busy", [100 * find_busy(scenario, found)], "% of the time")
    report.add("simulated_shared", [100 * found.shared], "% of all steps")
    short = replace(scenario, duration_s=60 * QUICK.minutes, num_lost=0)
    anywhere = simulate(replace(short, is_scattered=True)).shared
    report.add("simulated_shared_when_scattered", [100 * anywhere], "% of all steps")


def find_busy(scenario: Scenario, found: Findings) -> float:
    return found.busy_s / (scenario.num_replicas * scenario.duration_s)


def main(options: Options) -> int:
    report, size = Report("scale", options), QUICK if options.quick else FULL
    measure_simulation(report, size.minutes)
    uvloop.run(measure_ray(report, size.num_images))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options((__doc__ or "").splitlines()[0])))
