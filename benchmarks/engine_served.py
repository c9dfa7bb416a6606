"""The server as a process of its own, on a small store, asked through gRPC by the Python client."""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from benchmarks.engine_bare import BareLoop
from benchmarks.measurement import Report
from diffusion.model import ProductDiffusion
from etalage import AsyncClient, Result
from features.prepare import WorldSize, prepare_world
from features.store import StoreConfig
from server.demo.process import running_server
from server.sampling.row import RowRequest

SIZE = WorldSize(num_shoppers=64, num_creatives=64)
TIMEOUT_S = 120.0
BARE_EVERY = 2
"""Images, and then the bare forwards of one."""


@dataclass
class Served:
    """Asks for personalized images of the products by number; every image has its own seed."""

    client: AsyncClient
    products: list[str]
    num_steps: int
    seeds: Iterator[int] = field(default_factory=itertools.count)

    async def ask(self, number: int) -> Result:
        return await self.client.generate(
            self.products[number % len(self.products)],
            user=f"shopper-{number % SIZE.num_shoppers:05d}",
            steps=self.num_steps,
            seed=next(self.seeds),
            timeout_s=TIMEOUT_S,
        )


@asynccontextmanager
async def serving(
    model: ProductDiffusion, folder: Path, shop: Path, num_steps: int
) -> AsyncIterator[Served]:
    """A server on the products of `shop`, each asked for once; its home and log go to `folder`."""
    config = StoreConfig(home=folder / "home")
    prepare_world(config, model.encoders, size=SIZE, catalogue=shop, progress=False)
    # Told where its features are, it does not fill the store with the whole embedded world.
    store = {"type": "sqlite", "path": str(config.folder / "online.db")}
    command = [sys.executable, "-m", "server", "serve", "--server.port", "0"]
    command += ["--server.admin_port", "0", "--server.metrics_port", "0"]
    command += ["--features.online_store", json.dumps(store)]
    lines = (shop / "products.jsonl").read_text("utf-8").splitlines()
    products = [str(json.loads(line)["product_id"]) for line in lines]
    with running_server(command, config.home, folder / "server.log", lambda: None) as ports:
        async with AsyncClient(ports.server) as client:
            served = Served(client, products, num_steps)
            for number in range(len(products)):
                await served.ask(number)
            yield served


async def measure_latency(
    report: Report, served: Served, bare: BareLoop, row: RowRequest, num_images: int
) -> None:
    """One image at a time, beside as many bare forwards of one row as it has steps."""
    seconds: list[float] = []
    bare_s: list[float] = []
    stages_ms: dict[str, list[float]] = {}
    for number in tqdm(range(num_images), "latency", leave=False):
        started_s = time.perf_counter()
        result = await served.ask(number)
        seconds.append(time.perf_counter() - started_s)
        told_ms = dict(result.timings_ms)
        told_ms["other"] = 1e3 * seconds[-1] - sum(told_ms.values())
        for stage, ms in told_ms.items():
            stages_ms.setdefault(stage, []).append(ms)
        if number % BARE_EVERY == 0:
            bare_s.append(sum(bare.time_forwards(row, 1, served.num_steps)))
    ordered = statistics.quantiles(seconds, n=100, method="inclusive")
    report.add("latency_p50", [1e3 * s for s in seconds], "ms", better="lower")
    report.add("latency_p99", [1e3 * ordered[98]], "ms", better="lower")
    p50_s = statistics.median(seconds)
    ratios = [p50_s / s for s in bare_s]
    report.add("latency_over_bare_forwards", ratios, "x", target=1.15, better="lower")
    report.add("latency_bare_forwards", [1e3 * s for s in bare_s], "ms", better="lower")
    for stage, all_ms in stages_ms.items():
        report.add(f"latency_stage_{stage}", all_ms, "ms", better="lower")
