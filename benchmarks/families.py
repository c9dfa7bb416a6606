"""Pretrained families beside their stock pipelines: `python -m benchmarks.families`.

Every family is built with random weights: what a forward costs does not depend on what they say. Of
each, eight pictures for eight shoppers are sampled in shared forwards, and one by one by the stock
pipeline; what the shopper costs is measured on networks as wide as published ones. Tests build the
same small networks (`tests/diffusion/families`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from diffusers.utils import logging as diffusers_logging
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from benchmarks.engine_runs import running_engine, sample, time_forwards
from benchmarks.families_built import BUILDERS, NUM_STEPS, SIZED, Contender
from benchmarks.measurement import Options, Report, parse_options
from diffusion.families.model import PretrainedDiffusion
from diffusion.image_model import Wish
from server.commands.workshop import warm_requests
from server.sampling.engine import EngineLimits
from server.sampling.row import RowRequest

NUM_SHOPPERS = 8
LIMITS = EngineLimits(buckets=(1, 2, 4, 8, 16), is_sharing=False)
COST_ROWS = 2
"""Of the forward that shows what the shopper costs: one picture with guidance."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many turns of each; `unmeasured` ones go before."""

    rounds: int
    forwards: int
    unmeasured: int = 1


def plan(contender: Contender, number: int) -> RowRequest:
    """All that a request takes before it is sampled, its prompt and packshot read anew."""
    model, ratio = contender.model, contender.size[0] / contender.size[1]
    prepared = model.prepare(contender.facts(number), ratio)
    wish = Wish("preserve", strength=(number + 1) / NUM_SHOPPERS)
    route = model.plan(prepared, contender.shopper(number), wish, seed=number)
    return RowRequest.along(route, model.name, number)


async def compare(contender: Contender, size: Size) -> list[float]:
    """Images/s of eight shoppers together over eight runs of the stock pipeline, in turns."""
    ratios = []
    numbers = range(NUM_SHOPPERS)
    with running_engine([contender.model], warm_requests(contender.model), LIMITS) as engine:
        for turn in range(size.unmeasured + size.rounds):
            started_s = time.perf_counter()
            await sample(engine, [plan(contender, number) for number in numbers])
            ours_s = time.perf_counter() - started_s
            started_s = time.perf_counter()
            for number in numbers:
                contender.draw_stock(number)
            stock_s = time.perf_counter() - started_s
            if turn >= size.unmeasured:  # what meets cold kernels does not count
                ratios.append(stock_s / ours_s)
    return ratios


def measure_shopper(report: Report, size: Size) -> None:
    """A forward with the shopper's adapter over one without, in turns."""
    for name, build in SIZED.items():
        with TemporaryDirectory() as folder:
            models = build(Path(folder))
        costs = []
        for _ in tqdm(range(size.forwards), f"shopper of {name}", leave=False):
            plain_s, personal_s = map(time_one, models)
            costs.append(personal_s / plain_s)
        unit = "x a forward without"
        report.add(f"{name}.shopper", costs, unit, target=1.05, better="lower")


def time_one(model: PretrainedDiffusion) -> float:
    return median(time_forwards(model, warm_requests(model)[0], COST_ROWS, 1))


def measure_families(report: Report, size: Size) -> None:
    for name, build in tqdm(BUILDERS.items(), "families", leave=False):
        with TemporaryDirectory() as folder:
            for contender in build(Path(folder)):
                ratios = asyncio.run(compare(contender, size))
                shape = "x".join(map(str, contender.size))
                report.add(
                    f"{name}_{shape}.rows_of_8_over_8_runs", ratios, "x images/s", target=1.0
                )


def main(options: Options) -> int:
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    report = Report("families", options)
    report.environment |= {"num_steps": NUM_STEPS, "weights": "random"}
    size = Size(1, 1, unmeasured=0) if options.quick else Size(5, 5)
    measure_families(report, size)
    measure_shopper(report, size)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options(__doc__.splitlines()[0])))
