"""Ten times more calls than a server can answer: what comes in time, how late, at what cost.

A server process on a part of the embedded world; an open loop of calls that wait for nobody, whose
answers are of use for three times what they take alone. Health is asked all the while.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from benchmarks.engine_crowd import copy_part
from benchmarks.load import KINDS, Call, Crowd, Kind, Send, Summary, drive, quantile, sum_up
from benchmarks.load_served import ask_by
from benchmarks.measurement import Report
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from etalage import AsyncClient, Retries
from features.prepare import WorldSize, prepare_world
from features.simulate import LATENT_TASTES
from features.store import StoreConfig
from server.demo.process import Ports, running_server, scrape

WORLD = WorldSize(num_shoppers=64, num_creatives=64)
NUM_PRODUCTS = 8
DEADLINE = 3.0
"""So many times what the same image takes alone."""
PEAK_LOADS = (0.9, 1.5)
OVERLOAD = 10.0
MEBIBYTE = 1024 * 1024
MAX_GROWTH_MB = 32.0
HEALTH_PAUSE_S = 0.1
FULL_SOON = (
    f"--image_cache.memory_bytes={8 * MEBIBYTE}",
    f"--server.repeat_bytes={8 * MEBIBYTE}",
)
"""What is kept on purpose has all of its room before memory is looked at."""

READ_S = 1.0
"""For features: an image has some seconds here, and one without its shopper counts as failed."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A server that runs, and whom it can be asked for."""

    ports: Ports
    products: tuple[str, ...]
    shoppers: tuple[str, ...]
    features: StoreConfig

    def read(self) -> Mapping[str, float]:
        """Its metrics, by name and labels as they are written."""
        lines = scrape(self.ports).decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")
        return {name: float(value) for name, value in pairs}


@contextmanager
def running_shop(*flags: str, online_store: Mapping[str, Any] | None = None) -> Iterator[Shop]:
    """A server of its own world, which nobody has asked anything yet; features are in SQLite unless
    Feast is told otherwise."""
    with TemporaryDirectory(prefix="etalage-") as name:
        folder = Path(name)
        part = copy_part(folder / "part", NUM_PRODUCTS)
        config = StoreConfig(home=folder / "home", online_store=dict(online_store or {}))
        encoders = Encoders.load(DEFAULT_CHECKPOINT / "encoders")
        prepare_world(config, encoders, size=WORLD, catalogue=part, progress=False)
        # Told where its features are, it does not fill the store with the whole embedded world.
        store = online_store or {"type": "sqlite", "path": str(config.folder / "online.db")}
        command = [sys.executable, "-m", "server", "serve", "--features.online_store"]
        command += [json.dumps(store), "--server.port=0", "--server.admin_port=0"]
        command += ["--server.metrics_port=0", "--drain.lame_duck_s=0"]
        command += [f"--features.timeout_s={READ_S}", *FULL_SOON, *flags]
        lines = (part / "products.jsonl").read_text("utf-8").splitlines()
        products = tuple(str(json.loads(line)["product_id"]) for line in lines)
        with running_server(command, config.home, folder / "server.log", lambda: None) as ports:
            yield Shop(ports, products, list_known_shoppers(config.home), config)


def list_known_shoppers(home: Path) -> tuple[str, ...]:
    """Whose images are theirs: they consent, and have a history."""
    rows = pq.read_table(home / LATENT_TASTES).to_pylist()
    return tuple(row["user_id"] for row in rows if row["consent"] and row["num_clicks"])


async def find_crowd(shop: Shop, send: Send, num_turns: int) -> Crowd:
    """Deadlines by what each kind takes alone."""
    seconds: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    for product in shop.products:  # which are prepared when they are first asked for
        await send(Call(0.0, KINDS[0], product, shop.shoppers[0], 0, 30.0))
    for turn in range(num_turns):
        for number, kind in enumerate(KINDS):
            product, shopper = shop.products[number % NUM_PRODUCTS], shop.shoppers[number]
            started_s = time.perf_counter()
            await send(Call(0.0, kind, product, shopper, 1000 * turn + number, 30.0))
            seconds[kind].append(time.perf_counter() - started_s)
    deadlines_s = {kind: DEADLINE * statistics.median(each) for kind, each in seconds.items()}
    return Crowd(shop.products, shop.shoppers, deadlines_s)


async def find_capacity(send: Send, crowd: Crowd, num_open: int, window_s: float) -> float:
    """Images of the mix a second where so many callers wait for one after the other."""
    calls = iter(crowd.draw(1000.0, window_s, seed=1))
    ends_s, num_done = time.perf_counter() + window_s, 0

    async def call_on() -> None:
        nonlocal num_done
        for each in calls:
            await send(Call(0.0, each.kind, each.product, each.shopper, each.seed, 60.0))
            if time.perf_counter() > ends_s:
                return
            num_done += 1

    await asyncio.gather(*(call_on() for _ in range(num_open)))
    return num_done / window_s


@asynccontextmanager
async def watching_health(client: AsyncClient) -> AsyncIterator[list[float]]:
    """Seconds of each answer, infinite where it was not yes."""
    seen: list[float] = []

    async def watch() -> None:
        while True:
            started_s = time.perf_counter()
            is_serving = await client.is_serving(timeout_s=5.0)
            seen.append(time.perf_counter() - started_s if is_serving else float("inf"))
            await asyncio.sleep(HEALTH_PAUSE_S)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def measure(report: Report, is_quick: bool) -> None:
    asyncio.run(_measure(report, is_quick))


async def _measure(report: Report, is_quick: bool) -> None:
    ramp_s, window_s = (0.5, 2.0) if is_quick else (6.0, 30.0)
    with running_shop() as shop:
        async with AsyncClient(shop.ports.server, retries=Retries(max_attempts=1)) as client:
            send = ask_by(client)
            crowd = await find_crowd(shop, send, 1 if is_quick else 5)
            rate = await find_capacity(send, crowd, 24, window_s)
            report.environment["capacity_images_per_s"] = rate

            async def offer(load: float) -> Summary:
                calls = crowd.draw(load * rate, ramp_s + window_s, seed=round(10 * load))
                summary = sum_up(await drive(send, calls), ramp_s, ramp_s + window_s)
                tqdm.write(f"{load}x: {summary}")
                return summary

            peak = max([(await offer(load)).goodput for load in PEAK_LOADS])
            before = shop.read()
            async with watching_health(client) as health:
                summary = await offer(OVERLOAD)
            await asyncio.sleep(1.0)
            _add(report, summary, peak, health, before, shop.read())


def _add(
    report: Report,
    summary: Summary,
    peak: float,
    health: list[float],
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> None:
    name = f"overload_{OVERLOAD:g}x"
    resident = "process_resident_memory_bytes"
    growth_mb = (after[resident] - before[resident]) / MEBIBYTE
    left = after["etalage_engine_rows"]
    report.add(f"{name}.goodput_of_peak", [summary.goodput / peak], "share", target=0.9)
    report.add(f"{name}.goodput", [summary.goodput], "images/s")
    report.add(f"{name}.admitted_in_time", [summary.admitted_in_time], "share", target=0.99)
    report.add(f"{name}.p99", [summary.p99_share], "deadlines", target=1.0, better="lower")
    report.add(f"{name}.refusal_p99", [1e3 * summary.refusal_p99_s], "ms", better="lower")
    report.add(f"{name}.failed", [summary.num_failed], "calls", target=0, better="lower")
    told_no = sum(each == float("inf") for each in health)
    report.add(f"{name}.health_no", [told_no], "answers", target=0, better="lower")
    p99_ms = 1e3 * quantile([each for each in health if each != float("inf")], 0.99)
    report.add(f"{name}.health_p99", [p99_ms], "ms", target=1000, better="lower")
    report.add(f"{name}.memory_growth", [growth_mb], "MB", target=MAX_GROWTH_MB, better="lower")
    report.add(f"{name}.rows_left", [left], "rows", target=0, better="lower")
