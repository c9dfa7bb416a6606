"""What it costs to say which arm a request sees, in CPU time of the thread that says it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from server.core import Arm, ImageRequest
from server.experiments.assignment import Assignments
from server.experiments.definition import (
    Changes,
    Experiment,
    ExperimentArm,
    Holdout,
    Namespace,
    Targeting,
)
from server.experiments.growthbook_assigner import GrowthBookAssigner
from server.experiments.programme import Programme
from server.experiments.pseudonyms import Pseudonyms
from server.experiments.sticky import StickyMemory

NUM_IN_BATCH = 500
TARGET_US = 20.0
"""For each of them, on a core that has nothing else to do."""

T = TypeVar("T")

PSEUDONYMS = Pseudonyms(b"benchmark key 16")
EXPERIMENT = Experiment(
    "autumn-faces",
    tuple(ExperimentArm(arm.value, 1 / 3, Changes(arm)) for arm in Arm),
    Targeting(("en",)),
    Namespace("faces", 0.0, 1.0),
)


def measure_assignment(num_batches: int = 100) -> Mapping[str, list[float]]:
    """Microseconds for one assignment, each the mean of a batch: of new shoppers through the SDK,
    without and with buckets that stick, of shoppers who come back and are remembered, and of a
    whole request of each kind: pseudonym, holdout, targeting, and all that is said of it."""
    users = [f"shopper-{number:06}" for number in range(num_batches * NUM_IN_BATCH)]
    units = [PSEUDONYMS.name(user) for user in users]
    requests = [ImageRequest("shoe", user_id=user) for user in users]
    few_units, few_requests = units[:NUM_IN_BATCH], requests[:NUM_IN_BATCH]

    def choose(is_sticky: bool, num_remembered: int) -> Callable[[str], object]:
        assigner = make_assigner(is_sticky, num_remembered)
        return lambda unit: assigner.choose(EXPERIMENT, unit)

    def assign(is_sticky: bool) -> Callable[[ImageRequest], object]:
        programme = Programme((EXPERIMENT,), Holdout(0.01))
        assigner = make_assigner(is_sticky, len(users))
        assignments = Assignments(programme, assigner, PSEUDONYMS.name)
        return lambda request: assignments.assign(request, 0.5)

    returning, returning_whole = choose(True, len(users)), assign(True)
    for unit, request in zip(few_units, few_requests, strict=True):
        returning(unit), returning_whole(request)
    return {
        "sdk_us": measure(choose(False, 0), units),
        "sticky_us": measure(choose(True, 0), units),
        "remembered_us": measure(returning, few_units * num_batches),
        "new_request_us": measure(assign(True), requests),
        "returning_request_us": measure(returning_whole, few_requests * num_batches),
    }


def make_assigner(is_sticky: bool, num_remembered: int) -> GrowthBookAssigner:
    sticky = StickyMemory(max_units=1_000_000) if is_sticky else None
    return GrowthBookAssigner([EXPERIMENT], sticky, num_remembered)


def measure(work: Callable[[T], object], todo: Sequence[T]) -> list[float]:
    """Mean microseconds of each batch. What was made before it is no garbage to look for."""
    gc.collect()
    gc.freeze()
    means = []
    for first in range(0, len(todo), NUM_IN_BATCH):
        batch = todo[first : first + NUM_IN_BATCH]
        begun = time.thread_time_ns()
        for each in batch:
            work(each)
        means.append((time.thread_time_ns() - begun) / 1000 / len(batch))
    gc.unfreeze()
    return means
