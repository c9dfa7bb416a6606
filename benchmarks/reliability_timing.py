"""Whether the time of an answer tells who is known: kept generic images, asked by three kinds.

A shopper who did not consent, one whom the store has never seen and nobody at all get the same
image. They ask in turns of random order, so that whatever else the machine does befalls all alike;
a permutation test then says how often chance alone would part them so far.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Report
from etalage import Client
from features.prepare import choose_demo_shoppers
from server.demo.process import running_server

PRODUCT = "backpack"
STRANGER = "never-seen-shopper"
SERVE = (
    *(sys.executable, "-m", "server", "serve", "--server.port=0", "--server.admin_port=0"),
    *("--server.metrics_port=0", "--drain.lame_duck_s=0", "--engine.buckets=1,3"),
)
EVEN = ("--features.min_read_s=0.004",)
NUM_ROUNDS, NUM_QUICK = 2000, 300
NUM_PERMUTATIONS = 2000
MIN_P_VALUE = 0.01
SEED = 7

Seconds = NDArray[np.float64]


def measure(report: Report, is_quick: bool) -> None:
    """Adds the median difference of each pair, and its p-value.

    Where reads take as long for all, whether somebody is known must not show: that pair has a
    target. Who names nobody knows it, and is spared a read.
    """
    num_rounds = NUM_QUICK if is_quick else NUM_ROUNDS
    with tempfile.TemporaryDirectory(prefix="timing-") as folder:
        for policy, flags in {"": (), ".even": EVEN}.items():
            taken = time_server(Path(folder), flags, num_rounds)
            for one, other in itertools.combinations(taken, 2):
                name = f"timing{policy}.{one}_over_{other}"
                difference, p_value = compare(taken[one], taken[other])
                has_target = policy and (one, other) == ("no_consent", "unknown")
                target = MIN_P_VALUE if has_target else None
                report.add(f"{name}.difference", [1e6 * difference], "µs", better="lower")
                report.add(f"{name}.p_value", [p_value], "", target=target)


def time_server(home: Path, flags: Sequence[str], num_rounds: int) -> dict[str, Seconds]:
    with running_server((*SERVE, *flags), home, home / "server.log", lambda: None) as ports:
        users = {
            "no_consent": choose_demo_shoppers(home).no_consent,
            "unknown": STRANGER,
            "anonymous": "",
        }
        with Client(ports.server, timeout_s=60) as client:
            return time_kinds(client, users, num_rounds)


def time_kinds(client: Client, users: Mapping[str, str], num_rounds: int) -> dict[str, Seconds]:
    """Seconds of each answer; each kind is asked once in every round, in an order of chance."""
    rng, taken = np.random.default_rng(SEED), {kind: list[float]() for kind in users}
    kinds: Sequence[str] = list(users)
    for round_ in range(-len(users), num_rounds):  # the first ones fill the cache
        for place in rng.permutation(len(kinds)):
            kind = kinds[place]
            started_s = time.perf_counter()
            result = client.generate(PRODUCT, user=users[kind], longest_side=64)
            seconds = time.perf_counter() - started_s
            if round_ >= 0:
                assert result.source == "cache" and not result.personalization.applied
                taken[kind].append(seconds)
    return {kind: np.asarray(seconds) for kind, seconds in taken.items()}


def compare(one: Seconds, other: Seconds, num: int = NUM_PERMUTATIONS) -> tuple[float, float]:
    """Median of the differences within rounds, and how often one as large comes of chance: which of
    the two was whose is then drawn anew in each round."""
    rng, differences = np.random.default_rng(SEED), one - other
    found = float(np.median(differences))
    signs = rng.choice((-1.0, 1.0), (num, len(differences)))
    drawn = np.median(signs * differences, axis=1)
    return found, float(1 + np.count_nonzero(abs(drawn) >= abs(found))) / (1 + num)
