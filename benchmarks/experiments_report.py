"""A report over ten million events: how long it takes, and how much memory.

The events are made up here, vectorised: shoppers differ in how often they come and how readily
they click, prices have a heavy tail, and the arms differ as `LIFTS` says. The report is made in a
process of its own, whose peak of memory is the kernel's count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.measurement import Report
from server.core import Arm
from server.experiments.definition import Changes, Experiment, ExperimentArm

KEY = "window"
LIFTS = {"original": 1.0, "generic": 1.15, "personalized": 1.2}
LOCALES = ("en-GB", "de-DE", "pt-BR", "fr-FR", "ja-JP", "nl-NL")
INTERESTS = ("music", "sports", "kitchen", "garden")
START_S = 1_790_000_000.0
DAY_S = 86_400
NUM_DAYS, NUM_DAYS_BEFORE = 28, 14
EVENTS_PER_SHOPPER = 11.0
CHUNK_SHOPPERS = 50_000

MOST_EVENTS, FEWER_EVENTS = 10_000_000, 300_000
MOST_S, MOST_GIB = 60.0, 4.0

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def define() -> Experiment:
    arms = (ExperimentArm(name, 1 / 3, Changes(Arm(name))) for name in LIFTS)
    return Experiment(KEY, tuple(arms))


def write_events(folder: Path, num_events: int, seed: int = 0) -> int:
    """Writes exposures/ and outcomes/ of about so many events; returns how many there are."""
    rng = np.random.default_rng(seed)
    num_shoppers = max(30, round(num_events / EVENTS_PER_SHOPPER))
    total = 0
    for name in ("exposures", "outcomes"):
        (folder / name).mkdir(parents=True)
    for number, first in enumerate(range(0, num_shoppers, CHUNK_SHOPPERS)):
        visits = visit(rng, first, min(CHUNK_SHOPPERS, num_shoppers - first))
        for name, table in (("exposures", expose(visits)), ("outcomes", act(rng, visits))):
            pq.write_table(table, folder / name / f"{number:05d}.parquet")
            total += len(table)
    return total


@dataclass(frozen=True, slots=True)
class Visits:
    """Images that shoppers saw, one a row, and how readily each shopper clicks."""

    ids: Indices
    shoppers: Indices
    arms: Indices
    times_s: Floats
    latencies_s: Floats
    clicks: NDArray[np.bool_]

    @property
    def is_before(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.times_s < START_S
        return found


def visit(rng: np.random.Generator, first: int, count: int) -> Visits:
    """Of `count` shoppers, of whom half were there before."""
    eagerness = rng.gamma(2.0, 0.5, count)
    arms = rng.integers(0, len(LIFTS), count)
    before = np.where(rng.random(count) < 0.5, rng.poisson(3 * eagerness), 0)
    after = 1 + rng.poisson(6 * eagerness)
    come_s = START_S + DAY_S * NUM_DAYS * rng.random(count) ** 1.5
    numbers = np.arange(count)
    early, late = np.repeat(numbers, before), np.repeat(numbers, after)
    past_s = START_S - DAY_S * NUM_DAYS_BEFORE * rng.random(len(early))
    later_s = come_s[late] + rng.exponential(4 * DAY_S, len(late))
    starts = np.concatenate([[0], np.cumsum(after)[:-1]])
    later_s[starts] = come_s
    members = np.concatenate([early, late])
    lifts = np.array(list(LIFTS.values()))[arms[members]]
    lifts[: len(early)] = 1.0
    odds = 0.06 * (0.5 + 0.5 * eagerness[members]) * lifts
    return Visits(
        ids=rng.integers(0, 2**62, len(members)),
        shoppers=first + members,
        arms=arms[members],
        times_s=np.concatenate([past_s, later_s]),
        latencies_s=rng.gamma(4.0, 0.1, len(members)) * (1 + 0.2 * (arms[members] > 0)),
        clicks=rng.random(len(members)) < odds,
    )


def expose(visits: Visits) -> pa.Table:
    """Every column of an export."""
    count, before = len(visits.ids), visits.is_before
    hashed = visits.shoppers * 2_654_435_761 % 2**32

    def repeat(value: object) -> pa.Array:
        return pa.repeat(pa.scalar(value), count)

    names = choose(visits.arms, tuple(LIFTS))
    nothing = pa.repeat(pa.scalar(""), count)
    interests = pa.array([[name] for name in INTERESTS]).take(
        pa.array(hashed // 7 % len(INTERESTS))
    )
    return pa.table(
        {
            "event_id": write_ids(visits.ids, "r"),
            "exposure_id": write_ids(visits.ids, "e"),
            "time_s": visits.times_s,
            "received_s": visits.times_s + 2.0,
            "unit": write_ids(visits.shoppers, "u"),
            "experiment": pa.array(np.where(before, "", KEY)),
            "arm": pa.compute.if_else(pa.array(before), nothing, names),
            "shows": names,
            "propensity": repeat(1 / len(LIFTS)),
            "is_override": repeat(False),
            "is_anonymous": pa.array(hashed % 5 == 0),
            "product_id": choose(visits.ids % 500, tuple(f"product-{n}" for n in range(500))),
            "seed": visits.ids % 1000,
            "rank": visits.ids % 12,
            "locale": choose(hashed % len(LOCALES), LOCALES),
            "is_known": pa.array(hashed % 3 > 0),
            "interests": interests,
            "look": pa.repeat(pa.scalar(["dusk", "beach"]), count),
            "reason": repeat("applied"),
            "source": repeat("generated"),
            "degradation": choose((visits.ids % 100 == 0).astype(np.int64), ("", "original")),
            "model": repeat("quality"),
            "model_digest": repeat("0123456789abcdef"),
            "mode": repeat("preserve"),
            "strength": repeat(0.5),
            "steps": repeat(8),
            "feature_fingerprint": repeat("0123456789abcdef"),
            "image_key": write_ids(visits.ids // 3, "i"),
            "latency_s": visits.latencies_s,
            "minted_s": visits.times_s - 1.0,
            "context": pa.repeat(pa.scalar([0.0, 1.0]), count),
        }
    )


def act(rng: np.random.Generator, visits: Visits) -> pa.Table:
    """Clicks, looking, and of those who clicked some carts, purchases and returns."""
    clicked = np.flatnonzero(visits.clicks)
    bought = clicked[rng.random(len(clicked)) < 0.12]
    kinds = {
        "dwell": (np.flatnonzero(rng.random(len(visits.ids)) < 0.15), rng.exponential, 20.0),
        "click": (clicked, None, 5.0),
        "cart": (clicked[rng.random(len(clicked)) < 0.3], None, 30.0),
        "purchase": (bought, lambda *a: 30 * rng.lognormal(0.0, 1.0, a[1]), 600.0),
        "return": (bought[rng.random(len(bought)) < 0.1], None, 6000.0),
        "hide": (np.flatnonzero(rng.random(len(visits.ids)) < 0.002), None, 9.0),
    }
    return pa.concat_tables([report_outcomes(visits, kind, *rest) for kind, rest in kinds.items()])


def report_outcomes(
    visits: Visits,
    kind: str,
    rows: Indices,
    draw: Callable[[float, int], Floats] | None,
    delay_s: float,
) -> pa.Table:
    count, before = len(rows), visits.is_before[rows]
    names = choose(visits.arms[rows], tuple(LIFTS))
    return pa.table(
        {
            "event_id": write_ids(visits.ids[rows], kind[1]),
            "exposure_id": write_ids(visits.ids[rows], "e"),
            "experiment": pa.array(np.where(before, "", KEY)),
            "arm": pa.compute.if_else(pa.array(before), pa.repeat(pa.scalar(""), count), names),
            "unit": write_ids(visits.shoppers[rows], "u"),
            "is_override": pa.repeat(pa.scalar(False), count),
            "kind": pa.repeat(pa.scalar(kind), count),
            "time_s": visits.times_s[rows] + delay_s,
            "value": np.ones(count) if draw is None else draw(8.0, count),
            "received_s": visits.times_s[rows] + delay_s + 2.0,
        }
    )


def choose(numbers: Indices, words: tuple[str, ...]) -> pa.Array:
    return pa.array(words).take(pa.array(numbers))


HEX = np.frombuffer(
    bytes.fromhex("".join(f"{f'{n:02x}'.encode().hex()}" for n in range(256))), "S2"
)


def write_ids(numbers: Indices, mark: str) -> pa.Array:
    """33 characters each, as long as a digest; one for each number and mark."""
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    both = np.stack([mixed, numbers.astype(np.uint64)], axis=1)
    letters = np.full((len(numbers), 17), mark.encode().ljust(2)[:2], "S2")
    letters[:, 1:] = HEX[both.view(np.uint8)]
    data = np.ascontiguousarray(letters).view(np.uint8)[:, [0, *range(2, 34)]]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * data.shape[1]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.string(), len(numbers), buffers)


CHILD = """
import json, resource, sys, time
from pathlib import Path
from benchmarks.experiments_report import NUM_DAYS, START_S, DAY_S, define
from server.experiments.analysis.page import render
from server.experiments.analysis.report import tell
from server.experiments.analysis.study import analyze
began_s = time.perf_counter()
report = analyze(Path(sys.argv[1]), define(), START_S + 2 * NUM_DAYS * DAY_S)
texts = tell(report), render(report)
took_s = time.perf_counter() - began_s
peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
found = report.contrast("ctr", "original", "personalized").estimate
ends = found.lift_interval.low, found.lift_interval.high
print(json.dumps({"took_s": took_s, "peak_gib": peak_gib, "lift": found.lift, "ends": ends}))
"""


@dataclass(frozen=True, slots=True)
class Run:
    num_events: int
    took_s: float
    peak_gib: float
    lift: float
    ends: tuple[float, float]


def run(num_events: int, seed: int = 0) -> Run:
    """Makes events, and a report of them in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="etalage-events-") as folder:
        count = write_events(Path(folder), num_events, seed)
        command = [sys.executable, "-c", CHILD, folder]
        told = json.loads(subprocess.check_output(command, text=True))
    return Run(count, told["took_s"], told["peak_gib"], told["lift"], tuple(told["ends"]))


def measure_report(report: Report, *, quick: bool) -> None:
    """Adds the claims; a quick run has fewer events, and the targets all the same."""
    found = run(FEWER_EVENTS if quick else MOST_EVENTS)
    report.add("report_events", [found.num_events], "events")
    report.add("report_time", [found.took_s], "s", target=MOST_S, better="lower")
    report.add("report_memory", [found.peak_gib], "GiB", target=MOST_GIB, better="lower")
    truth = LIFTS["personalized"] / LIFTS["original"] - 1
    is_inside = found.ends[0] <= truth <= found.ends[1]
    report.add("report_lift_error", [abs(found.lift - truth)], "share", better="lower")
    report.add("report_truth_inside", [float(is_inside)], "share", target=1.0)
