"""A server under steady load for a long time: nothing of it may grow.

`python -m benchmarks.soak [--minutes M]`. Calls that are seen through come at 0.8 of what the
server can do. Of a hundred calls ten are cancelled, five are wrong, five leave
a stream, and five ask for a model that is exchanged each minute, tiny and untrained. The server's
own metrics are looked at every second. What counts is by how much the last quarter of the time is
above the second one, at the median: 1 is the exit status where anything grew.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from tqdm import tqdm

from benchmarks.load import KINDS
from benchmarks.load_served import MAX_SHOPPER_SCALE, ask_by
from benchmarks.measurement import ROOT, Options, Report
from benchmarks.reliability_overload import (
    Shop,
    find_capacity,
    find_crowd,
    running_shop,
)
from etalage import AsyncClient, Cancelled, EtalageError, InvalidArgument, Overloaded
from etalage.v1 import models_pb2
from etalage.v1.models_pb2_grpc import ModelServiceStub
from tests.way.test_models import furnish, write

LOAD = 0.8
SEEN_THROUGH = 0.8
"""Of all calls."""

LOOK_S = 1.0
SWAP_S = 60.0
TIMEOUT_S = 60.0
SETTLE_S = 5.0
"""So long after the last call everything has left."""

MEBIBYTE = 1024 * 1024


METRICS = {
    "memory_bytes": "process_resident_memory_bytes",
    "descriptors": "process_open_fds",
    "tasks": "etalage_tasks",
    "rows": "etalage_engine_rows",
}
LIMITS = {"memory_bytes": 48.0 * MEBIBYTE, "descriptors": 8.0, "tasks": 16.0, "rows": 8.0}
"""By how much each may be above what it was."""


@dataclass(slots=True)
class Soak:
    """What was seen of the server, look by look, and what became of the calls."""

    seen: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})
    endings: Counter[str] = field(default_factory=Counter)
    num_swaps: int = 0

    def look(self, metrics: Mapping[str, float]) -> None:
        for name, metric in METRICS.items():
            self.seen[name].append(metrics[metric])


def find_growth(values: Sequence[float]) -> float:
    """How far the median of the last quarter is above that of the second; the first is for warming
    up, and less is no growth."""
    quarter = max(1, len(values) // 4)
    before, after = values[quarter : 2 * quarter] or values, values[-quarter:]
    return max(0.0, statistics.median(after) - statistics.median(before))


async def soak(shop: Shop, minutes: float, model: Path) -> Soak:
    seen, draw = Soak(), random.Random(11)
    async with AsyncClient(shop.ports.server, timeout_s=TIMEOUT_S) as client:
        send = ask_by(client)
        crowd = await find_crowd(shop, send, 1)
        rate = LOAD / SEEN_THROUGH * await find_capacity(send, crowd, 16, 10.0)
        ends_s = time.perf_counter() + 60 * minutes
        helpers = [
            asyncio.create_task(_look_on(shop, seen)),
            asyncio.create_task(_swap_on(shop, seen, model)),
        ]
        calls: set[asyncio.Task[None]] = set()
        with tqdm(total=round(60 * minutes), unit="s", leave=False) as bar:
            started_s = time.perf_counter()
            while (now_s := time.perf_counter()) < ends_s:
                call = asyncio.create_task(_call(client, shop, seen, draw.randrange(2**31)))
                calls.add(call)
                call.add_done_callback(calls.discard)
                bar.update(int(now_s - started_s) - bar.n)
                await asyncio.sleep(draw.expovariate(rate))
        await asyncio.gather(*calls)
        await asyncio.sleep(SETTLE_S)
        for helper in helpers:
            helper.cancel()
        for helper in helpers:
            with suppress(asyncio.CancelledError):
                await helper
        return seen


async def _call(client: AsyncClient, shop: Shop, seen: Soak, seed: int) -> None:
    """One of those that there are in a day."""
    draw = random.Random(seed)
    what, kind = draw.randrange(100), draw.choice(KINDS)
    product, shopper = draw.choice(shop.products), draw.choice(shop.shoppers)
    try:
        if what < 10:
            ask = client.generate(product, user=shopper, steps=50, seed=seed)
            await asyncio.wait_for(ask, draw.uniform(0.01, 0.5))
        elif what < 15:
            await client.generate(product, user=shopper, steps=1000)
        elif what < 20:
            async for _ in client.stream(product, user=shopper, preview_side=64):
                break
        elif what < 25:
            await client.generate(product, user=shopper, model="studio", seed=seed)
        else:
            await client.generate(
                product,
                user=shopper,
                steps=kind.num_steps,
                product_scale=kind.product_scale,
                strength=kind.shopper_scale / MAX_SHOPPER_SCALE,
                seed=seed,
            )
        seen.endings["done"] += 1
    except (TimeoutError, Cancelled):
        seen.endings["cancelled"] += 1
    except InvalidArgument:
        seen.endings["wrong"] += 1
    except Overloaded:
        seen.endings["refused"] += 1
    except EtalageError as error:
        seen.endings[f"failed: {error.code} {error.reason}"] += 1


async def _look_on(shop: Shop, seen: Soak) -> None:
    while True:
        seen.look(await asyncio.to_thread(shop.read))
        await asyncio.sleep(LOOK_S)


async def _swap_on(shop: Shop, seen: Soak, model: Path) -> None:
    """Exchanges a model for another revision of it, again and again."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{shop.ports.admin}") as channel:
        stub = ModelServiceStub(channel)  # type: ignore[no-untyped-call]
        while True:
            path = write(model, steps=4 + seen.num_swaps % 2)
            request = models_pb2.LoadModelRequest(specification_path=str(path))
            await stub.LoadModel(request, timeout=300)
            seen.num_swaps += 1
            await asyncio.sleep(SWAP_S)


def add_claims(report: Report, seen: Soak) -> None:
    for name, limit in LIMITS.items():
        growth = find_growth(seen.seen[name])
        report.add(f"{name}_growth", [growth], name, target=limit, better="lower")
        report.add(name, seen.seen[name], name, better="lower")
    report.add("rows_left", [seen.seen["rows"][-1]], "rows", target=0, better="lower")
    failed = sum(count for word, count in seen.endings.items() if word.startswith("failed"))
    report.add("failed", [failed], "calls", target=0, better="lower")
    report.add("swaps", [seen.num_swaps], "models")
    report.environment["endings"] = dict(seen.endings)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; default: 30")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="of the report")
    options = parser.parse_args()
    report = Report("soak", Options(quick=False, strict=True, out=options.out))
    report.environment["minutes"] = options.minutes
    with TemporaryDirectory(prefix="etalage-") as folder:
        model = furnish(Path(folder))
        with running_shop("--verification.max_roughness=1000") as shop:
            add_claims(report, asyncio.run(soak(shop, options.minutes, model)))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
