"""The sampling engine: how much of the device it uses, what it spares, who waits and who leaves.

`python -m benchmarks.engine [--quick]`. Most is a ratio to something measured in the same run: a
bare loop, the same walks unshared, a quiet run. A mixed crowd and deadlines: `benchmarks.peers`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from tqdm import tqdm

from benchmarks.engine_bare import BareLoop, running_bare
from benchmarks.engine_crowd import USUAL, Crowd, Pair, copy_part
from benchmarks.engine_packing import measure_packing
from benchmarks.engine_runs import (
    NUM_CORES,
    ask_engine,
    measure_saturated,
    running_engine,
)
from benchmarks.engine_served import Served, measure_latency, serving
from benchmarks.engine_sharing import measure_definition, measure_popular, measure_slates
from benchmarks.engine_storm import STRICT, measure_decisions, measure_refusals, measure_storms
from benchmarks.load import Kind
from benchmarks.measurement import Options, Report, parse_options
from diffusion.checkpoint import DEFAULT_CHECKPOINT, FAST_CHECKPOINT
from diffusion.guidance import Guidance
from diffusion.image_model import Preset
from diffusion.model import ProductDiffusion
from diffusion.walks import Segment
from features.simulate import WORLD
from server.commands.workshop import warm_request
from server.sampling.cores import take_cores
from server.sampling.engine import Engine, EngineLimits
from server.sampling.row import RowRequest

NUM_OPEN = 32
"""Images under way at a saturated engine or server."""

PRESET = Preset()


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    rounds: int
    turns: int
    """Of the engine and its yardsticks at saturation."""
    counted: int
    """Images of a round at saturation; as many again are under way."""
    num_steps: int
    """Of those; all that is about what a picture shows takes the default's."""
    slates: tuple[int, int]
    """So many, of so many products."""
    popular: int
    pairs: int
    storms: tuple[int, int, int]
    """So many, of so many who stay and who leave."""
    refusals: tuple[int, int]
    latency: int
    wave_s: float
    shoppers: int
    creatives: int
    products: int
    """Of the shop, 0 for all of them."""


FULL = Size(
    5,
    7,
    32,
    PRESET.num_steps,
    (8, 24),
    500,
    192,
    (10, 50, 500),
    (5, 200),
    60,
    30.0,
    3000,
    1024,
    0,
)
QUICK = Size(1, 1, 16, 8, (1, 4), 4, 3, (1, 4, 16), (1, 20), 4, 2.0, 128, 16, 16)
NUM_SERVED = 8
STORM_STEPS = 4


async def measure(report: Report, size: Size, folder: Path) -> None:
    model = ProductDiffusion.load(DEFAULT_CHECKPOINT)
    part = copy_part(folder / "part", NUM_SERVED)
    shop = copy_part(folder / "shop", size.products) if size.products else WORLD
    with ThreadPoolExecutor(1, initializer=take_cores, initargs=(NUM_CORES,)) as thread:
        crowd = thread.submit(Crowd.open, model, shop, size.shoppers, size.creatives).result()
    with running_engine([model], [warm_request(model)]) as engine:
        with running_bare(DEFAULT_CHECKPOINT) as bare:
            async with serving(model, folder, part, size.num_steps) as served:
                await measure_efficiency(report, crowd, engine, bare, served, size)
                served.num_steps = PRESET.num_steps
                row = make_row(crowd, 0, PRESET.num_steps)
                await measure_latency(report, served, bare, row, size.latency)
        await measure_sparing(report, crowd, engine, size)

        def make(number: int, kind: Kind) -> RowRequest:
            guidance = Guidance(kind.product_scale, kind.shopper_scale)
            return make_row(crowd, number, kind.num_steps, guidance=guidance)

        print(await measure_packing(report, model, warm_request(model), make, size.wave_s))
        await measure_manners(report, crowd, engine, size)
    await measure_few_steps(report, crowd, size)


async def measure_efficiency(
    report: Report, crowd: Crowd, engine: Engine, loop: BareLoop, served: Served, size: Size
) -> None:
    """Saturated with images of which no two share anything, in turns with the bare loop."""
    num_steps = size.num_steps
    alike = draw_alike(crowd, num_steps)
    best = loop.find_best_batch(next(alike), engine.pace.buckets)
    report.environment |= {"bare_batch": best, "steps_at_saturation": num_steps}
    # Whole batches on both sides: the last one would else be a smaller one.
    rows = list(itertools.islice(alike, best * max(1, size.counted // best)))
    ask = ask_engine(engine, lambda _: next(alike))
    amounts = NUM_OPEN, engine.pace.largest, size.counted
    loop.images_per_s(rows[:best], best)
    bare, own, grpc = [], [], []
    for _ in tqdm(range(size.turns), "efficiency", leave=False):
        bare.append(loop.images_per_s(rows, best))
        own.append(await measure_saturated(ask, *amounts))
        grpc.append(await measure_saturated(served.ask, *amounts))
    report.add("bare_images_per_s", bare, "images/s")
    report.add("efficiency", divide(own, bare), "of the bare loop", target=0.95)
    report.add("efficiency_through_grpc", divide(grpc, bare), "of the bare loop", target=0.85)


async def measure_sparing(report: Report, crowd: Crowd, shared: Engine, size: Size) -> None:
    limits = EngineLimits(is_sharing=False)
    with running_engine([crowd.model], [warm_request(crowd.model)], limits) as unshared:
        num_slates, num_products = size.slates
        slates = [crowd.draw_slate(num_products, number) for number in range(num_slates)]
        await measure_slates(report, crowd, shared, unshared, slates)
        await measure_popular(report, crowd, shared, unshared, size.popular)
        await measure_definition(report, crowd, unshared, crowd.draw_pairs(size.pairs))


async def measure_manners(report: Report, crowd: Crowd, engine: Engine, size: Size) -> None:
    """Towards those who leave, and those who can't come in."""
    model = crowd.model
    await measure_refusals(
        report, engine, lambda number: make_row(crowd, number, 50), *size.refusals
    )
    key = engine.key_of(model.name)
    measure_decisions(report, engine.pace, key, engine.pace.tick_s(key, 1), 1000)
    warm = [warm_request(model)]
    with (
        running_engine([model], warm, STRICT) as quiet,
        running_engine([model], warm, STRICT) as stormy,
    ):
        await measure_storms(
            report, quiet, stormy, lambda number: make_row(crowd, number, STORM_STEPS), size.storms
        )


async def measure_few_steps(report: Report, crowd: Crowd, size: Size) -> None:
    """The student in its own few steps beside its teacher, by the same engine in turns."""
    if not (FAST_CHECKPOINT / "model_index.json").exists():
        report.environment["not_measured"] = f"few steps: no student in {FAST_CHECKPOINT.name}"
        return
    model = crowd.model
    fast = ProductDiffusion.load_student(FAST_CHECKPOINT, model)
    steps = {each: each.preset.num_steps for each in (model, fast)}
    numbers = itertools.count()  # no image twice: its walk would be found again
    rates: dict[ProductDiffusion, list[float]] = {model: [], fast: []}
    with running_engine([model, fast], [warm_request(model), warm_request(fast)]) as engine:
        batch = engine.pace.largest
        for _ in tqdm(range(size.rounds), "few steps", leave=False):
            for each, found in rates.items():

                def make(_: int, each: ProductDiffusion = each) -> RowRequest:
                    return make_row(crowd, next(numbers), steps[each], each)

                found.append(
                    await measure_saturated(ask_engine(engine, make), 2 * batch, batch, batch)
                )
    report.add("fast_images_per_s", rates[fast], "images/s")
    report.add("quality_images_per_s", rates[model], "images/s")
    report.add("fast_over_quality", divide(rates[fast], rates[model]), "x")


def make_row(
    crowd: Crowd,
    number: int,
    num_steps: int,
    model: ProductDiffusion | None = None,
    guidance: Guidance = USUAL,
) -> RowRequest:
    """Of a product and a shopper by number; each number has a seed of its own."""
    shopper = crowd.shoppers[number % len(crowd.shoppers)]
    pair = Pair(number % min(len(crowd.world.rows), 64), shopper, number)
    return crowd.ask(pair, num_steps, model=model, guidance=guidance)


def draw_alike(crowd: Crowd, num_steps: int) -> Iterator[RowRequest]:
    """Rows of which no two share a walk, but all fork at the same ticks, into as many terms."""
    rows = (make_row(crowd, number, num_steps) for number in itertools.count())
    first = next(rows)
    yield first
    for row in rows:
        if list(map(count_terms, row.walk)) == list(map(count_terms, first.walk)):
            yield row


def count_terms(segment: Segment) -> tuple[int, int]:
    return segment.stop, len(segment.terms)


def divide(values: list[float], yardsticks: list[float]) -> list[float]:
    return [value / yardstick for value, yardstick in zip(values, yardsticks, strict=True)]


def main(options: Options) -> int:
    take_cores(1)
    report = Report("engine", options)
    with TemporaryDirectory(prefix="engine-") as folder:
        uvloop.run(measure(report, QUICK if options.quick else FULL, Path(folder)))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options(__doc__ or "")))
