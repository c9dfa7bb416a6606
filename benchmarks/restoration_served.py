"""Pictures as a customer sends them: diagnosed, repaired where that asks for it, and answered.

Nothing is said of what to repair. So what restoring is worth is measured together with whether it
is tried at all, and undamaged packshots must come back as they were.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.measurement import Report
from benchmarks.restoration_cases import Damage, measure_psnr, put_on_white, seed_of
from diffusion.matting import Matting
from diffusion.restoration import Restorer
from features.records import Products, Shopper
from server.commands.enhancement import warm_request
from server.core import OutputSpec
from server.enhancement.enhance import Enhancer
from server.enhancement.nouns import EnhanceRequest, EnhanceResult, Repair
from server.enhancement.restoring import Restoring
from server.imaging.encode import encode
from server.sampling.cores import take_cores
from server.sampling.engine import Engine, EngineLimits
from server.sampling.router import Router

Pixels = NDArray[np.uint8]

NUM_THREADS = 2
BUCKETS = 1, 4, 8, 16
MAX_CHANGE = 1.0
"""Codes of 255 by which an undamaged packshot may come back changed."""

UNDAMAGED: Mapping[str, Callable[[Pixels], Pixels]] = {
    "white_512": lambda cutout: put_on_white(cutout, 512),
    "white_256": lambda cutout: put_on_white(cutout, 256),
    "alpha": lambda cutout: cutout,
}


@dataclass(frozen=True, slots=True)
class NoCatalogue:
    """Every picture comes along."""

    async def read(
        self, user_id: str | None, product_ids: Sequence[str], *, timeout_s: float
    ) -> tuple[Shopper | None, Products]:
        raise LookupError(f"no product {product_ids}")


@asynccontextmanager
async def open_enhancer(restorer: Restorer, matting: Matting) -> AsyncIterator[Enhancer]:
    """As a server has it, with an engine for the restorer alone."""

    async def open_model() -> Restorer:
        return restorer

    engine = Engine([restorer], EngineLimits(BUCKETS))
    with ThreadPoolExecutor(NUM_THREADS, "repairs", take_cores, (1,)) as workers:
        await asyncio.to_thread(engine.start, [warm_request(restorer)])
        restoring = Restoring(Router([engine]), workers, open_model)
        try:
            yield Enhancer(NoCatalogue(), restoring, matting, workers)
        finally:
            await restoring.close()
            await asyncio.to_thread(engine.close)


async def send(enhancer: Enhancer, pixels: Pixels) -> tuple[Pixels, EnhanceResult]:
    """A picture [H, W, 3 or 4] as a PNG, and what came back."""
    request = EnhanceRequest(encode(pixels, OutputSpec()).data)
    result = await enhancer.enhance(request)
    assert result.image is not None, "only a diagnosis has none"
    with Image.open(io.BytesIO(result.image.data)) as image:
        return np.asarray(image), result


async def measure_served(
    report: Report,
    cutouts: Mapping[str, Pixels],
    side: int,
    damages: Sequence[Damage],
    restorer: Restorer,
    matting: Matting,
) -> None:
    """Cut-outs are sent damaged, on white of that side, and as they are, in each of three ways."""
    truths = {name: put_on_white(cutout, side) for name, cutout in cutouts.items()}
    async with open_enhancer(restorer, matting) as enhancer:
        for damage in damages:
            await _measure_damaged(report, damage, truths, enhancer)
        for kind, show in UNDAMAGED.items():
            await _measure_undamaged(report, kind, list(map(show, cutouts.values())), enhancer)


async def _measure_damaged(
    report: Report, damage: Damage, truths: Mapping[str, Pixels], enhancer: Enhancer
) -> None:
    gains, restored = [], []
    for name, truth in tqdm(truths.items(), f"served {damage.name}", leave=False):
        damaged = damage.apply(truth, seed_of(name, damage.name))
        answered, result = await send(enhancer, damaged)
        gains.append(measure_psnr(answered, truth) - measure_psnr(damaged, truth))
        restored.append(Repair.RESTORE in result.repairs)
    report.add(f"served_{damage.name}.gain", gains, "dB", target=damage.min_gain_db)
    report.add(f"served_{damage.name}.restored", [100 * float(np.mean(restored))], "%")


async def _measure_undamaged(
    report: Report, kind: str, packshots: Sequence[Pixels], enhancer: Enhancer
) -> None:
    """The largest change of all: one packshot that is spoilt is one too many."""
    changes, left = [], []
    for pixels in tqdm(packshots, f"undamaged {kind}", leave=False):
        answered, result = await send(enhancer, pixels)
        moved = np.abs(answered.astype(np.int16) - pixels)
        changes.append(float(moved.max()))
        left.append(not result.repairs)
    report.add(
        f"undamaged_{kind}.largest_change",
        [max(changes)],
        "1/255",
        target=MAX_CHANGE,
        better="lower",
    )
    report.add(f"undamaged_{kind}.left_alone", [100 * float(np.mean(left))], "%")
