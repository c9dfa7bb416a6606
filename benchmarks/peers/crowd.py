"""The shoppers and products that are asked for, and how long one image takes where nothing else is.

All systems are measured against one table of deadlines and one capacity, both from bare sampling in
the same run, so that no system sets its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.load import KINDS, Call, Crowd, Kind
from benchmarks.peers.servers.sampling import PARTS, Job, Sampler
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from features.packshots import open_packshot
from features.prepare import prepare_world
from features.reader import FeatureReader
from features.records import Product, Shopper, Status
from features.store import StoreConfig
from features.vector import Vector
from server.demo.program import PRODUCT, SLATE

PRODUCTS = (PRODUCT, *SLATE)
NUM_SHOPPERS = 64
DEADLINE = 3.0
"""So many times what the same image takes alone."""
BATCH_ROWS = (8, 16)
READ_S = 30.0


@dataclass(frozen=True, slots=True)
class World:
    """Where our server's features are, the file that peers read, and who may be asked for."""

    home: Path
    file: Path
    embeddings: dict[tuple[str, str], Vector]
    """By shopper and product."""
    tastes: dict[str, Vector]
    """Of shoppers who are shown no product."""

    @property
    def shoppers(self) -> list[str]:
        return sorted({shopper for shopper, _ in self.embeddings})

    def tell_job(self, call: Call, expires_s: float) -> bytes:
        """The call as a peer gets it: with the shopper's embedding, since it has no features."""
        shopper = self.embeddings[call.shopper, call.product]
        job = {
            "product": call.product,
            "shopper": base64.b64encode(shopper.tobytes()).decode(),
            "taste": base64.b64encode(self.tastes[call.shopper].tobytes()).decode(),
            "num_steps": call.kind.num_steps,
            "product_scale": call.kind.product_scale,
            "shopper_scale": call.kind.shopper_scale,
            "seed": call.seed,
            "expires_s": expires_s,
        }
        return json.dumps(job).encode()


def prepare_crowd(folder: Path) -> World:
    """Fills a feature store under `folder`, and writes what peers must know of the products."""
    encoders = Encoders.load(DEFAULT_CHECKPOINT / "encoders")
    config = StoreConfig(home=folder / "home")
    prepare_world(config, encoders)
    reader = FeatureReader(config, width=encoders.width, encoder_digest=encoders.digest)
    reader.start()
    products, shoppers = asyncio.run(_read(reader, config))
    file = folder / "crowd.npz"
    parts = {
        f"{part} {name}": value
        for name, product in products.items()
        for part, value in zip(PARTS, _show(product), strict=True)
    }
    np.savez(file, allow_pickle=False, products=np.array(PRODUCTS), **parts)
    embeddings = {
        (user, name): vector
        for user, shopper in shoppers.items()
        for name, product in products.items()
        if (vector := shopper.embed(product.image_embedding)) is not None
    }
    nothing = np.zeros(encoders.width, np.float32)
    tastes = {
        user: vector
        for user, shopper in shoppers.items()
        if (vector := shopper.embed(nothing)) is not None
    }
    return World(config.home, file, embeddings, tastes)


def _show(product: Product) -> tuple[np.ndarray, Vector, Vector]:  # type: ignore[type-arg]
    return open_packshot(product.packshot), product.image_embedding, product.text_embedding


async def _read(
    reader: FeatureReader, config: StoreConfig
) -> tuple[dict[str, Product], dict[str, Shopper]]:
    """The products, and the first shoppers who consent and have a history."""
    products = {name: await reader.read_product(name, timeout_s=READ_S) for name in PRODUCTS}
    shoppers: dict[str, Shopper] = {}
    number = 0
    while len(shoppers) < NUM_SHOPPERS:
        user = f"shopper-{number:05d}"
        shopper = await reader.read_shopper(user, timeout_s=READ_S)
        if shopper.status is Status.FOUND and shopper.consent:
            shoppers[user] = shopper
        number += 1
    await reader.close()
    return products, shoppers


@dataclass(frozen=True, slots=True)
class Bare:
    """Sampling without a server, finished to PNG: seconds for one image of each kind alone, and
    images a second of the whole mix in the best batches."""

    unloaded_s: dict[Kind, float]
    images_per_s: float
    batch_rows: int


def measure_bare(world: World, *, rounds: int) -> Bare:
    sampler = Sampler(world.file)
    seconds = {
        kind: statistics.median(
            _time(sampler, _make_jobs(world, [kind], seed)) for seed in range(rounds)
        )
        for kind in tqdm(KINDS, "unloaded", leave=False)
    }
    jobs = _make_jobs(world, [*KINDS] * (2 if rounds > 1 else 1), 0)
    rates = {
        rows: len(jobs) / _time(sampler, jobs, rows)
        for rows in (BATCH_ROWS if rounds > 1 else BATCH_ROWS[-1:])
    }
    best = max(rates, key=lambda rows: rates[rows])
    return Bare(seconds, rates[best], best)


def gather_crowd(world: World, bare: Bare) -> Crowd:
    deadlines_s = {kind: DEADLINE * seconds for kind, seconds in bare.unloaded_s.items()}
    return Crowd(PRODUCTS, world.shoppers, deadlines_s)


def _make_jobs(world: World, kinds: Sequence[Kind], seed: int) -> list[Job]:
    rng = np.random.default_rng(seed)
    calls = [
        Call(0.0, kind, str(rng.choice(PRODUCTS)), str(rng.choice(world.shoppers)), number, 0.0)
        for number, kind in enumerate(kinds)
    ]
    return [Job.read(world.tell_job(call, float("inf"))) for call in calls]


def _time(sampler: Sampler, jobs: Sequence[Job], batch_rows: int = BATCH_ROWS[-1]) -> float:
    started = time.perf_counter()
    sampler.sample_batch(jobs, batch_rows)
    return time.perf_counter() - started
