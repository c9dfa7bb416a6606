"""Bulk: how near it comes to the bare model, what memory it takes, and what is left after kill -9.

`python -m benchmarks.bulk [--quick]`. Images a second are those of the runner that the command
uses, saturated, with all that bulk is: rows read, features read, rows sampled, decoded, composed,
encoded at 512 pixels, written and journaled. The bare loop, in turns in the same run, is whole
batches from noise to decoded pixels and nothing else. Memory and kills are those of the command's
own process, with the fast model at one step and 32 pixels: many rows, quickly.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import uvloop
from tqdm import tqdm

from benchmarks.engine import PRESET, divide, draw_alike
from benchmarks.engine_bare import BareLoop, running_bare
from benchmarks.engine_crowd import Crowd, copy_part
from benchmarks.engine_runs import NUM_CORES
from benchmarks.measurement import Options, Report, parse_options
from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from diffusion.model import ProductDiffusion
from features.prepare import WorldSize, prepare_world
from features.store import StoreConfig
from server.bulk.journal import FOLDER, open_journal
from server.bulk.plan import Problems
from server.bulk.record import IMAGES, Record
from server.bulk.runner import Runner
from server.bulk.store import Store
from server.commands.building import build
from server.commands.bulk import adapt
from server.configuration import Configuration, FeaturesSlice
from server.doors.request_file import RequestFile, explain
from server.metrics import Metrics
from server.sampling.cores import take_cores

NUM_PRODUCTS = 8
SHOPPERS = WorldSize(num_shoppers=64, num_creatives=64)
NUM_IN_FLIGHT = 64
MEBIBYTE = 1024 * 1024
SMALL: dict[str, Any] = {"model": "fast", "steps": 1, "longest_side": 32}


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    turns: int
    counted: int
    """Images of a turn; as many as are under way are made before and after them."""
    num_steps: int
    rows: int
    """Over which memory is looked at."""
    kills: int
    killed_rows: int


FULL = Size(7, 64, PRESET.num_steps, 10_000, 10, 1500)
QUICK = Size(1, 16, 8, 300, 1, 150)


@dataclass(frozen=True, slots=True)
class Shop:
    """A small store of features, and files of requests for it."""

    folder: Path
    products: Sequence[str]
    features: FeaturesSlice

    @classmethod
    def open(cls, folder: Path) -> Shop:
        part = copy_part(folder / "part", NUM_PRODUCTS)
        config = StoreConfig(home=folder / "home")
        encoders = Encoders.load(DEFAULT_CHECKPOINT / "encoders")
        prepare_world(config, encoders, size=SHOPPERS, catalogue=part, progress=False)
        lines = (part / "products.jsonl").read_text("utf-8").splitlines()
        # Told where its features are, nobody fills the store with the whole embedded world.
        online: dict[str, Any] = {"type": "sqlite", "path": str(config.folder / "online.db")}
        features = FeaturesSlice(home=config.home, online_store=online, timeout_s=30.0)
        return cls(folder, [json.loads(line)["product_id"] for line in lines], features)

    def write(self, name: str, num_rows: int, first_seed: int = 0, **told: Any) -> Path:
        """Requests of which no two share anything."""
        path = self.folder / f"{name}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for number in range(num_rows):
                row = {
                    "request_id": f"r-{number}",
                    "product_id": self.products[number % len(self.products)],
                    "user_id": f"shopper-{number % SHOPPERS.num_shoppers:05d}",
                    "seed": first_seed + number,
                }
                file.write(json.dumps(row | told) + "\n")
        return path

    def start(self, requests: Path, out: Path) -> subprocess.Popen[bytes]:
        features = self.features
        command = [sys.executable, "-m", "server", "bulk", str(requests), str(out)]
        command += ["--features.home", str(features.home), "--logging.level", "warning"]
        command += ["--features.online_store", json.dumps(features.online_store)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)


async def measure_rate(report: Report, shop: Shop, bare: BareLoop, size: Size) -> None:
    model = ProductDiffusion.load(DEFAULT_CHECKPOINT)
    with ThreadPoolExecutor(1, initializer=take_cores, initargs=(NUM_CORES,)) as thread:
        crowd = thread.submit(Crowd.open, model, shop.folder / "part", 128, 16).result()
    alike = draw_alike(crowd, size.num_steps)
    configuration = Configuration(features=shop.features)
    best = bare.find_best_batch(next(alike), configuration.engine.buckets)
    report.environment |= {"bare_batch": best, "steps_at_saturation": size.num_steps}
    rows = list(itertools.islice(alike, best * max(1, size.counted // best)))
    bare.images_per_s(rows[:best], best)
    loop, own = [], []
    metrics = Metrics()
    async with build(adapt(configuration, "local"), metrics) as built:
        for turn in tqdm(range(size.turns), "images/s", leave=False):
            loop.append(bare.images_per_s(rows, best))
            store = Store(str(shop.folder / f"turn-{turn}"))
            runner = Runner(built.pipeline, store, explain, num_in_flight=NUM_IN_FLIGHT)
            own.append(await run_saturated(runner, store, shop, turn, size))
    metrics.close()
    report.add("bare_images_per_s", loop, "images/s")
    report.add("images_per_s", own, "images/s")
    report.add("efficiency", divide(own, loop), "of the bare loop", target=0.95)


async def run_saturated(runner: Runner, store: Store, shop: Shop, turn: int, size: Size) -> float:
    """Images a second, from the first image after the engine is full to the last before it is not
    any more."""
    num_rows = size.counted + 2 * NUM_IN_FLIGHT
    path = shop.write(f"turn-{turn}", num_rows, turn * 1_000_000, steps=size.num_steps)
    store.make_folders(IMAGES, FOLDER)
    journal = open_journal(store)
    moments_s: list[float] = []

    def keep(records: Sequence[Record]) -> None:
        journal.append(records)
        assert all(record.is_finished for record in records)
        moments_s.extend([time.perf_counter()] * len(records))

    await runner.run(RequestFile(str(path), date.today()).read(Problems()), keep)
    journal.close()
    counted = moments_s[NUM_IN_FLIGHT - 1 : NUM_IN_FLIGHT + size.counted]
    return size.counted / (counted[-1] - counted[0])


def measure_memory(report: Report, shop: Shop, num_rows: int) -> None:
    out = shop.folder / "memory"
    process = shop.start(shop.write("memory", num_rows, **SMALL), out)
    samples: list[tuple[int, float]] = []
    while process.poll() is None:
        if (done := count_done(out)) and (rss := read_rss(process.pid)):
            samples.append((done, rss / MEBIBYTE))
        time.sleep(0.2)
    assert process.returncode == 0
    early = [rss for done, rss in samples if 0.2 <= done / num_rows < 0.35]
    late = [rss for done, rss in samples if done / num_rows >= 0.85]
    growth = statistics.median(late or [samples[-1][1]]) - statistics.median(early or late)
    report.add("rss", [rss for _, rss in samples], "MiB", better="lower")
    report.add("rss_growth", [growth], "MiB", target=16, better="lower")
    report.environment["rows_of_memory"] = num_rows


def measure_kills(report: Report, shop: Shop, size: Size) -> None:
    """A run is killed at random moments of starting and of working; then one may end."""
    rng = random.Random(20)
    out = shop.folder / "killed"
    path = shop.write("killed", size.killed_rows, **SMALL)
    for number in tqdm(range(size.kills), "kill -9", leave=False):
        process = shop.start(path, out)
        if number % 4 == 3:  # wherever it is, even at its start
            time.sleep(rng.uniform(0, 5))
        else:
            wait_for_work(process, out)
            time.sleep(rng.uniform(0, 1))
        process.kill()
        process.wait()
    status = shop.start(path, out).wait()
    names = {f"r-{number}" for number in range(size.killed_rows)}
    report.add("lost", [count_lost(out, names)], "rows", target=0, better="lower")
    report.add("doubled", [count_doubled(out)], "rows", target=0, better="lower")
    report.environment |= {"kills": size.kills, "status_after_kills": status}


def count_lost(out: Path, names: set[str]) -> int:
    """Rows that have no image, or not the one that the manifest tells of."""
    whole = {
        row["name"]
        for row in pq.read_table(out / "manifest.parquet").to_pylist()
        if hashlib.sha256((out / row["path"]).read_bytes()).hexdigest() == row["sha256"]
    }
    return len(names - whole)


def count_doubled(out: Path) -> int:
    """Rows that were finished twice or are told of twice, and images that belong to none."""
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    told = Counter(row["name"] for row in rows)
    finished = Counter(json.loads(line)["name"] for line in read_journal_lines(out))
    files = {f"{IMAGES}/{file.name}" for file in (out / IMAGES).iterdir()}
    strays = files - {row["path"] for row in rows}
    return (
        sum((told - Counter(set(told))).values())
        + len(strays)
        + sum((finished - Counter(set(finished))).values())
    )


def read_journal_lines(out: Path) -> Iterator[bytes]:
    for file in (out / FOLDER).glob("*.jsonl"):
        yield from file.read_bytes().splitlines()


def count_done(out: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in (out / FOLDER).glob("*.jsonl"))


def read_rss(process: int) -> int:
    """In bytes; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def wait_for_work(process: subprocess.Popen[bytes], out: Path) -> None:
    """Until it has made a row."""
    before = count_done(out)
    while count_done(out) == before and process.poll() is None:
        time.sleep(0.01)


def main(options: Options) -> int:
    take_cores(1)
    report = Report("bulk", options)
    size = QUICK if options.quick else FULL
    with TemporaryDirectory(prefix="bulk-") as folder:
        shop = Shop.open(Path(folder))
        with running_bare(DEFAULT_CHECKPOINT) as bare:
            uvloop.run(measure_rate(report, shop, bare, size))
        measure_memory(report, shop, size.rows)
        measure_kills(report, shop, size)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main(parse_options(__doc__ or "")))
