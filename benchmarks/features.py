"""Reading features: our reader beside Feast's own, on the same store, in the same run.

`python -m benchmarks.features [--quick]`. 64 clients ask at once. Feast is asked as its
documentation shows, one call for each request, on the spot or in threads, whichever is faster here;
and for information in two calls, which for 50 products spares it a shopper in each of 50 rows.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import uvloop
from tqdm import tqdm

from benchmarks.measurement import Options, Report, parse_options
from features.materialize import push
from features.offline import to_vectors
from features.reader import FeatureReader
from features.records import Product, Shopper, Status
from features.schema import PRODUCT_FEATURES, SERVICE, TIMESTAMP, USER_PROFILE, USER_RECENT, View
from features.store import Store, StoreConfig, apply_store
from features.vector import fingerprint
from tests.server.image_cache.conftest import RedisServer

WIDTH = 128
DIGEST = "0" * 16
NUM_SHOPPERS = 500
NUM_PRODUCTS = 535
NUM_CLIENTS = 64
LONG_S = 30.0
IMAGE_S = (0.05, 0.15)  # what a client waits for after its read, in the place of an image

Request = tuple[str, list[str]]
Ask = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    rounds: int
    requests_of_1: int
    requests_of_50: int
    image_rounds: int


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked for, and in how many calls of Feast."""

    name: str
    num_products: int
    target: float | None = None
    is_popular: bool = True
    calls: int = 1


CASES = (
    Case("throughput_1_shopper_1_product", 1, target=3.0),
    Case("throughput_1_shopper_50_products", 50, target=3.0),
    Case("throughput_1_shopper_1_product_none_shared", 1, is_popular=False),
    Case("throughput_1_shopper_50_products_two_calls", 50, calls=2),
)
FULL = Size(rounds=31, requests_of_1=1024, requests_of_50=128, image_rounds=20)
QUICK = Size(rounds=9, requests_of_1=512, requests_of_50=128, image_rounds=8)


def fill_store(home: Path, online_store: Mapping[str, object] | None = None) -> Store:
    """A store as large as the embedded world, of random features."""
    config = StoreConfig(home=home, online_store=online_store or {})
    store = apply_store(config, fingerprint(WIDTH, DIGEST))
    rng = np.random.default_rng(0)
    now = datetime.now(UTC)
    draws = {"recent_weights": rng.random}

    def write(view: View, count: int, **columns: object) -> None:
        ids = [f"{view.entity}-{number}" for number in range(count)]
        vectors = {
            name: to_vectors(draw((count, view.length(name, WIDTH))).astype(np.float32))
            for name, draw in (
                (name, draws.get(name, rng.standard_normal)) for name in view.vectors
            )
        }
        rows = {view.key: ids, TIMESTAMP: [now] * count} | vectors
        rows |= {name: [value] * count for name, value in columns.items()}
        push(store, view, pa.table(rows, schema=view.arrow), WIDTH, keep=False)

    titles = json.dumps({f"l{number}": f"a title in language {number}" for number in range(28)})
    profile = {"age_band": "25-34", "gender": "female", "locale": "de", "consent": True}
    write(USER_PROFILE, NUM_SHOPPERS, interests=["sports", "books"], **profile)
    write(USER_RECENT, NUM_SHOPPERS)
    write(PRODUCT_FEATURES, NUM_PRODUCTS, category="tools", titles=titles, packshot="/shop/a.webp")
    return store


def draw_requests(num_products: int, *, popular: bool, seed: int) -> Iterator[Request]:
    """Shoppers at random; products by popularity (the k-th most popular is asked for 1/k as often),
    or else none before all others had their turn."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, NUM_PRODUCTS + 1)
    in_turn = itertools.cycle(range(NUM_PRODUCTS))
    while True:
        if popular:
            block = rng.choice(NUM_PRODUCTS, (256, num_products), p=shares / shares.sum()).tolist()
        else:
            block = [list(itertools.islice(in_turn, num_products)) for _ in range(256)]
        for row, shopper in zip(block, rng.integers(NUM_SHOPPERS, size=256), strict=True):
            yield f"user-{shopper}", [f"product-{product}" for product in row]


def ask_reader(reader: FeatureReader) -> Ask:
    async def ask(request: Request) -> None:
        shopper, products = await reader.read(*request, timeout_s=LONG_S)
        check(shopper, products)

    return ask


def check(shopper: Shopper | None, products: Mapping[str, object]) -> None:
    if shopper is None or shopper.status is not Status.FOUND:
        raise RuntimeError(f"the shopper was not read: {shopper}")
    if not all(isinstance(product, Product) for product in products.values()):
        raise RuntimeError("a product was not read")


def ask_feast(store: Store, *, calls: int) -> dict[str, Ask]:
    """The ways in which Feast can be asked for the same, in one call or in two."""
    feast = store.feast
    service = feast.get_feature_service(SERVICE)
    users = [
        f"{view.name}:{name}" for view in (USER_PROFILE, USER_RECENT) for name in view.features
    ]
    features = [f"{PRODUCT_FEATURES.name}:{name}" for name in PRODUCT_FEATURES.features]

    def call(request: Request) -> None:
        user, products = request
        if calls == 1:
            rows = [{"user_id": user, "product_id": product} for product in products]
            feast.get_online_features(service, rows).to_dict()
        else:
            feast.get_online_features(users, [{"user_id": user}]).to_dict()
            rows = [{"product_id": product} for product in products]
            feast.get_online_features(features, rows).to_dict()

    async def on_the_spot(request: Request) -> None:
        call(request)

    async def in_threads(request: Request) -> None:
        await asyncio.to_thread(call, request)

    return {"on the spot": on_the_spot, "in threads": in_threads}


async def time_requests(ask: Ask, requests: Iterator[Request], count: int) -> float:
    """Seconds for each of `count` requests, asked by 64 clients at once."""
    waiting = iter(list(itertools.islice(requests, count)))

    async def be_client() -> None:
        for request in waiting:
            await ask(request)

    started = time.perf_counter()
    await asyncio.gather(*(be_client() for _ in range(NUM_CLIENTS)))
    return (time.perf_counter() - started) / count


async def compare(
    reader: FeatureReader, ways: dict[str, Ask], case: Case, size: Size
) -> list[float]:
    """How many times as many requests our reader answers; each round times both."""
    count = size.requests_of_1 if case.num_products == 1 else size.requests_of_50
    requests = draw_requests(case.num_products, popular=case.is_popular, seed=case.num_products)
    ours = ask_reader(reader)
    tried = dict.fromkeys(ways, float("inf"))
    for _ in range(3):
        await time_requests(ours, requests, count // 4)
        for way, ask in ways.items():
            tried[way] = min(tried[way], await time_requests(ask, requests, count // 4))
    fastest = min(tried, key=lambda way: tried[way])
    seconds = []
    for _ in tqdm(range(size.rounds), case.name, leave=False):
        theirs_s = await time_requests(ways[fastest], requests, count // 2)
        seconds.append((theirs_s, await time_requests(ours, requests, count)))
    theirs_us, ours_us = (1e6 * statistics.median(column) for column in zip(*seconds, strict=True))
    print(f"{case.name}: Feast {fastest} {theirs_us:.0f} µs a request, our reader {ours_us:.0f} µs")
    return [theirs_s / ours_s for theirs_s, ours_s in seconds]


async def time_reads(reader: FeatureReader, size: Size, *, together: bool) -> list[float]:
    """The 99th percentile of what a read adds to a request, in ms, for each half second or so.

    64 requests are in flight: each reads, then waits as if for its image; or, `together`, all 64
    read in the same turn of the event loop, again and again.
    """
    rng = np.random.default_rng(5)
    ask = ask_reader(reader)
    requests = draw_requests(1, popular=True, seed=9)
    waits_s = rng.uniform(*IMAGE_S, size=(size.image_rounds, NUM_CLIENTS))
    taken_s = np.zeros_like(waits_s)

    async def be_client(client: int) -> None:
        await asyncio.sleep(0 if together else waits_s[0, client])
        for turn in range(size.image_rounds):
            started = time.perf_counter()
            await ask(next(requests))
            taken_s[turn, client] = time.perf_counter() - started
            await asyncio.sleep(IMAGE_S[0] if together else waits_s[turn, client])

    p99s_ms = []
    for _ in tqdm(range(size.rounds), "latency", leave=False):
        await asyncio.gather(*(be_client(client) for client in range(NUM_CLIENTS)))
        p99s_ms.append(1e3 * float(np.quantile(taken_s, 0.99)))
    return p99s_ms


async def measure(store: Store, report: Report, size: Size) -> None:
    reader = FeatureReader(store.config, width=WIDTH, encoder_digest=DIGEST)
    reader.start()
    gc.collect()
    gc.freeze()  # collections then pass over what the imports left; good for both sides
    for case in CASES:
        ratios = await compare(reader, ask_feast(store, calls=case.calls), case, size)
        report.add(case.name, ratios, "x Feast", target=case.target)
    p99s_ms = await time_reads(reader, size, together=False)
    report.add("read_adds_p99_64_concurrent", p99s_ms, "ms", target=2.0, better="lower")
    p99s_ms = await time_reads(reader, size, together=True)
    report.add("read_adds_p99_64_in_one_turn", p99s_ms, "ms", better="lower")
    await reader.close()


def measure_stores(store: Store, report: Report, size: Size) -> None:
    """The same reads from Redis, on this machine as well, in turns with those from SQLite."""
    if shutil.which("redis-server") is None:
        print("not measured: there is no redis-server on this machine")
        return
    with tempfile.TemporaryDirectory() as home:
        server = RedisServer(home)
        try:
            told = {"type": "redis", "connection_string": f"127.0.0.1:{server.port}"}
            other = fill_store(Path(home), told)
            uvloop.run(compare_stores({"sqlite": store, "redis": other}, report, size))
        finally:
            server.stop()


async def compare_stores(stores: Mapping[str, Store], report: Report, size: Size) -> None:
    readers = {
        name: FeatureReader(store.config, width=WIDTH, encoder_digest=DIGEST)
        for name, store in stores.items()
    }
    for reader in readers.values():
        reader.start()
    for num_products in (1, 50):
        count = size.requests_of_1 if num_products == 1 else size.requests_of_50
        taken_us: dict[str, list[float]] = {name: [] for name in readers}
        requests = draw_requests(num_products, popular=True, seed=num_products)
        for turn in tqdm(range(size.rounds + 1), f"stores, {num_products}", leave=False):
            for name, reader in readers.items():
                seconds = await time_requests(ask_reader(reader), requests, count)
                if turn:  # the first is for warming
                    taken_us[name].append(1e6 * seconds)
        for name, all_us in taken_us.items():
            report.add(f"{name}_read_of_{num_products}", all_us, "µs a request", better="lower")
        pairs = zip(taken_us["redis"], taken_us["sqlite"], strict=True)
        ratios = [redis_us / sqlite_us for redis_us, sqlite_us in pairs]
        report.add(f"redis_over_sqlite_of_{num_products}", ratios, "x", better="lower")
    for name, reader in readers.items():
        p99s_ms = await time_reads(reader, size, together=False)
        report.add(f"{name}_adds_p99_64_concurrent", p99s_ms, "ms", better="lower")
        await reader.close()


def main(options: Options) -> int:
    report = Report("features", options)
    with tempfile.TemporaryDirectory() as home:
        store = fill_store(Path(home))
        uvloop.run(measure(store, report, QUICK if options.quick else FULL))
        measure_stores(store, report, QUICK if options.quick else FULL)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options(__doc__ or "")))
