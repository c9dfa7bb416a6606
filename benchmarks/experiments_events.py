"""The event log of experiments: events a second, how long a batch waits, and what is left after
kill -9; tokens; exports. On SQLite, and on PostgreSQL where this machine has one.

Each event is on disk before it counts: SQLite with synchronous = FULL, PostgreSQL with fsync. Ids
are random, which is what costs most. Batches have 100 events, 70 exposures among them. Events a
second are those of callers who each wait for one batch after the other; a batch waits while 5,000
events a second come in steadily, whether those before are done or not.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks.measurement import Options, Report, parse_options
from features.keys import Keys
from server.database import writing
from server.experiments.event_log.keeping import keep
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.events import Event, EventKind, Exposure
from server.experiments.exposures import mint_id, open_token, sign
from tests.server.experiments.event_log.drill import Drill, count_doubled
from tests.server.postgresql import DURABLE, running, why_not

BATCH = 100
NUM_CALLERS = 8
OFFERED = 5_000
"""Events a second."""

NUM_UNITS = 100_000
DAY_S = 86_400.0
_KINDS = (EventKind.RENDER,) * 7 + (EventKind.CLICK, EventKind.CLICK, EventKind.PURCHASE)
_EXPORT = """
import resource, sys, time
from server.experiments.event_log.export import export
from server.experiments.event_log.opening import open_events
engine = open_events(sys.argv[1])
start_s = time.perf_counter()
num_events = export(engine, sys.argv[2])
seconds = time.perf_counter() - start_s
print(num_events, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    turns: int
    batches: int
    """Of a turn."""
    kills: int
    exported: int
    tokens: int


FULL = Size(5, 500, 20, 2_000_000, 20_000)
QUICK = Size(1, 150, 2, 100_000, 2_000)


def measure_events(report: Report, quick: bool) -> None:
    """All of it."""
    size = QUICK if quick else FULL
    measure_tokens(report, size)
    with TemporaryDirectory(prefix="events-") as folder:
        for name, url in open_databases(Path(folder)):
            asyncio.run(measure_log(report, name, url, size))
            measure_kills(report, name, url, Path(folder), size)
        measure_export(report, Path(folder), size)


def open_databases(folder: Path) -> Iterator[tuple[str, str]]:
    yield "sqlite", f"sqlite:///{folder / 'events.db'}"
    if not why_not():
        with running(DURABLE) as server:
            yield "postgresql", server.url


def make_event(draw: random.Random, now_s: float) -> Event:
    exposure = Exposure(
        exposure_id=mint_id(now_s),
        minted_s=round(now_s, 3),
        unit=f"unit-{draw.randrange(NUM_UNITS):017d}",
        shows="personalized",
        product_id=f"product-{draw.randrange(10_000):05d}",
        seed=draw.getrandbits(64),
        experiment="surroundings",
        arm=draw.choice(("original", "generic", "personalized")),
        propensity=1 / 3,
        rank=draw.randrange(10),
        locale="pt-BR",
        is_known=True,
        interests=("travel", "coffee"),
        look=("warm", "kitchen", "soft"),
        source="sampled",
        model="quality",
        model_digest="f3ab33cd12345678",
        mode="preserve",
        strength=0.5,
        steps=20,
        feature_fingerprint="0123456789abcdef",
        feature_ages_s=(("user_profile", draw.uniform(0, DAY_S)), ("user_recent", 12.5)),
        image_key=f"{draw.getrandbits(128):032x}",
        latency_s=draw.uniform(0.2, 2.0),
    )
    event_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
    return Event(event_id, draw.choice(_KINDS), now_s, exposure)


def make_batches(draw: random.Random, num: int) -> list[list[Event]]:
    now_s = time.time()
    return [[make_event(draw, now_s) for _ in range(BATCH)] for _ in range(num)]


async def measure_log(report: Report, name: str, url: str, size: Size) -> None:
    draw = random.Random()
    log = EventLog(open_events(url))
    log.start()
    await append_all(log, make_batches(draw, 20))
    rates, latencies = [], []
    for _ in tqdm(range(size.turns), name, leave=False):
        batches = make_batches(draw, size.batches)
        rates.append(await append_all(log, batches))
        batches = make_batches(draw, size.batches)
        latencies.append(await append_steadily(log, batches))
    await log.close()
    report.add(f"{name}_events_per_s", rates, "events/s", target=OFFERED)
    report.add(f"{name}_batch_p50", [p50 for p50, _ in latencies], "ms", better="lower")
    report.add(f"{name}_batch_p99", [p99 for _, p99 in latencies], "ms", target=50, better="lower")


async def append_all(log: EventLog, batches: Sequence[Sequence[Event]]) -> float:
    """As fast as they are acknowledged; events a second."""
    left = iter(batches)

    async def call() -> None:
        for batch in left:
            receipt = await log.append(batch)
            assert receipt.num_new == len(batch)

    start_s = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(NUM_CALLERS)))
    return BATCH * len(batches) / (time.perf_counter() - start_s)


async def append_steadily(log: EventLog, batches: Sequence[Sequence[Event]]) -> tuple[float, float]:
    """Median and 99th percentile from when a batch came until it was acknowledged, in ms."""
    start_s = time.perf_counter()

    async def call(batch: Sequence[Event], due_s: float) -> float:
        await asyncio.sleep(due_s - time.perf_counter())
        await log.append(batch)
        return 1000 * (time.perf_counter() - due_s)

    calls = (call(each, start_s + n * BATCH / OFFERED) for n, each in enumerate(batches))
    waits = sorted(await asyncio.gather(*calls))
    return waits[len(waits) // 2], waits[int(0.99 * len(waits))]


def measure_kills(report: Report, name: str, url: str, folder: Path, size: Size) -> None:
    """A process that appends is killed and started again."""
    draw = random.Random(20)
    drill = Drill(url, folder / f"{name}-acknowledged")
    for _ in tqdm(range(size.kills), f"{name}, kill -9", leave=False):
        drill.kill_at_work(draw)
    engine = open_events(url)
    lost, doubled = drill.count_lost(engine), count_doubled(engine)
    engine.dispose()
    report.add(f"{name}_lost", [lost], "events", target=0, better="lower")
    report.add(f"{name}_doubled", [doubled], "events", target=0, better="lower")
    report.environment[f"{name}_kills"] = size.kills
    report.environment[f"{name}_acknowledged_batches"] = len(drill.read_acknowledged())


def measure_export(report: Report, folder: Path, size: Size) -> None:
    """From SQLite, of as many events as there is time for, as if there were ten million."""
    url = f"sqlite:///{folder / 'exported.db'}"
    fill(url, size.exported)
    command = [sys.executable, "-c", _EXPORT, url, str(folder / "exported")]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    num_events, seconds, rss = map(float, told.split())
    assert num_events == size.exported
    report.add("export_10m", [seconds * 1e7 / num_events], "s", target=40, better="lower")
    report.add("export_rss", [rss], "MiB", target=1000, better="lower")
    report.environment["exported_events"] = size.exported


def fill(url: str, num_events: int) -> None:
    draw = random.Random(1)
    engine = open_events(url)
    for _ in tqdm(range(num_events // 10_000), "events to export", leave=False):
        events = [make_event(draw, time.time()) for _ in range(10_000)]
        with writing(engine) as connection:
            keep(connection, events, time.time())
    engine.dispose()


def measure_tokens(report: Report, size: Size) -> None:
    """With two keys, of which the first signed."""
    keys = Keys((b"n" * 32, b"o" * 32))
    draw, now_s = random.Random(2), time.time()
    exposures = [make_event(draw, now_s).exposure for _ in range(size.tokens)]
    start_s = time.perf_counter()
    tokens = [sign(exposure, keys) for exposure in exposures]
    sign_s = time.perf_counter() - start_s
    start_s = time.perf_counter()
    opened = [open_token(token, keys, now_s, DAY_S) for token in tokens]
    open_s = time.perf_counter() - start_s
    assert opened == exposures
    micros = 1e6 / size.tokens
    report.add("token_sign", [sign_s * micros], "us", target=30, better="lower")
    report.add("token_open", [open_s * micros], "us", target=30, better="lower")


def main(options: Options) -> int:
    report = Report("experiments_events", options)
    measure_events(report, options.quick)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options(__doc__ or "")))
