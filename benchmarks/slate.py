"""What waits less: `python -m benchmarks.slate [--quick]`.

A slate's first image beside a single one, in turns of one run, and what an image takes that is
kept for the shopper's taste; all through gRPC, from a server of its own, by the Python client.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks.engine import PRESET
from benchmarks.engine_crowd import copy_part
from benchmarks.engine_served import TIMEOUT_S, Served, serving
from benchmarks.measurement import Options, Report, parse_options
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.model import ProductDiffusion

NUM_PRODUCTS = 24


@dataclass(frozen=True, slots=True)
class Size:
    """Turns of a slate and a single image, and images that are answered from the cache."""

    turns: int
    hits: int


FULL, QUICK = Size(9, 1000), Size(2, 200)


async def measure_slate(report: Report, served: Served, num_turns: int) -> None:
    """Each turn is another shopper and other seeds: nothing was walked before."""
    single_s, first_s, whole_s = [], [], []
    for number in tqdm(range(num_turns), "slates", leave=False):
        started_s = time.perf_counter()
        await served.ask(number)
        single_s.append(time.perf_counter() - started_s)
        moments_s = await time_slate(served, number)
        first_s.append(moments_s[0])
        whole_s.append(moments_s[-1])
    report.add("single", [1e3 * s for s in single_s], "ms", better="lower")
    report.add("first_image", [1e3 * s for s in first_s], "ms", better="lower")
    ratios = [first / single for first, single in zip(first_s, single_s, strict=True)]
    report.add("first_image_over_single", ratios, "x", target=1.5, better="lower")
    report.add("whole_slate", [1e3 * s for s in whole_s], "ms", better="lower")


async def time_slate(served: Served, number: int) -> Sequence[float]:
    """Seconds until each image of a slate has come."""
    user, started_s, moments_s = f"shopper-{number:05d}", time.perf_counter(), []
    asked = served.client.slate(
        served.products,
        user=user,
        steps=served.num_steps,
        seed=next(served.seeds),
        timeout_s=TIMEOUT_S,
    )
    async with aclosing(asked) as items:
        async for item in items:
            assert item.result is not None, item.error
            # Of one that failed verification twice it is the packshot, made as late as any other.
            assert item.result.degradation == "none" and item.result.source != "cache"
            moments_s.append(time.perf_counter() - started_s)
    return moments_s


async def measure_hits(report: Report, served: Served, num_hits: int) -> None:
    """One asker at a time, of a product whose image for that taste is kept."""
    product, user = served.products[0], "shopper-00001"
    await served.client.generate(product, user=user, timeout_s=TIMEOUT_S)
    seconds = []
    for _ in tqdm(range(num_hits), "hits", leave=False):
        started_s = time.perf_counter()
        result = await served.client.generate(product, user=user, timeout_s=TIMEOUT_S)
        seconds.append(time.perf_counter() - started_s)
        assert result.source == "cache"
    report.add("cache_hit", [1e3 * s for s in seconds], "ms", target=3, better="lower")


async def measure(report: Report, size: Size, folder: Path) -> None:
    model = ProductDiffusion.load(DEFAULT_CHECKPOINT)
    shop = copy_part(folder / "shop", NUM_PRODUCTS)
    async with serving(model, folder, shop, PRESET.num_steps) as served:
        await measure_slate(report, served, size.turns)
        await measure_hits(report, served, size.hits)


def main(options: Options) -> int:
    report = Report("slate", options)
    with tempfile.TemporaryDirectory(prefix="slate-") as folder:
        asyncio.run(measure(report, QUICK if options.quick else FULL, Path(folder)))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options((__doc__ or "").splitlines()[0])))
