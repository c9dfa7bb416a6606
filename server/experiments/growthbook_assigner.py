"""Arms by GrowthBook's hashing: what its other SDKs choose for the same unit, this one chooses.

An experiment has 10,000 places (`hashVersion` 2), a namespace 1,000. No client is built and nothing
is fetched: definitions are prepared once, and drawn from by the SDK's own functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from growthbook import AbstractStickyBucketService, Options, UserContext
from growthbook import Experiment as Test
from growthbook.common_types import EvaluationContext, GlobalContext, StackContext
from growthbook.core import (
    chooseVariation,
    gbhash,
    getBucketRanges,
    inNamespace,
    run_experiment,
)

from server.experiments.assigner import Choice
from server.experiments.definition import Experiment
from server.experiments.sticky import Bucket, StickyStore, name_slot

ATTRIBUTE = "id"
HASH_VERSION = 2  # without it the SDK takes 1: a thousand places, the same for every experiment


@dataclass(frozen=True, slots=True)
class Prepared:
    """The variations are the choices themselves, by the weights; buckets are by arm."""

    test: Test[Choice]
    slot: str
    buckets: Mapping[str, Bucket]


class GrowthBookAssigner:
    def __init__(
        self,
        experiments: Iterable[Experiment],
        sticky: StickyStore | None = None,
        num_remembered: int = 65_536,
    ) -> None:
        """`num_remembered` choices are not computed again; 0 for none."""
        self._prepared = {each.key: prepare(each) for each in experiments}
        self._sticky = None if sticky is None else StickyService(sticky, self._prepared.values())
        self._world = GlobalContext(Options(sticky_bucket_service=self._sticky))
        self._remembered = lru_cache(num_remembered)(self._choose)

    def choose(self, experiment: Experiment, unit: str, is_eligible: bool = True) -> Choice | None:
        if is_eligible or self._find_kept(self._prepared[experiment.key], unit) is not None:
            return self._remembered(experiment.key, unit)
        return None

    def _choose(self, key: str, unit: str) -> Choice | None:
        prepared = self._prepared[key]
        if (kept := self._find_kept(prepared, unit)) is not None:
            return self._recall(prepared, unit, kept)
        choice = draw(prepared.test, unit)
        if choice is not None and self._sticky is not None:
            self._sticky.save_assignments(write(unit, {prepared.slot: choice.arm.name}))
        return choice

    def _recall(self, prepared: Prepared, unit: str, kept: Bucket) -> Choice | None:
        attributes = {ATTRIBUTE: unit}
        documents = self._sticky.get_all_assignments(attributes) if self._sticky else {}
        user = UserContext(attributes=attributes, sticky_bucket_assignment_docs=documents)
        context = EvaluationContext(user, self._world, StackContext())
        result = run_experiment(prepared.test, None, context)
        return Choice(result.value.arm, kept.propensity, result.stickyBucketUsed)

    def _find_kept(self, prepared: Prepared, unit: str) -> Bucket | None:
        return None if self._sticky is None else self._sticky.find(prepared, unit)


class StickyService(AbstractStickyBucketService):
    """A store of ours in GrowthBook's documents."""

    def __init__(self, store: StickyStore, prepared: Iterable[Prepared]) -> None:
        self._store = store
        self._buckets = {each.slot: each.buckets for each in prepared}

    def find(self, prepared: Prepared, unit: str) -> Bucket | None:
        """Where it is for an arm that there is still."""
        bucket = self._store.get(unit).get(prepared.slot)
        return bucket if bucket is not None and bucket.arm in prepared.buckets else None

    def get_assignments(self, attributeName: str, attributeValue: str) -> dict[str, Any] | None:
        buckets = self._store.get(attributeValue)
        assignments = {slot: bucket.arm for slot, bucket in buckets.items()}
        return write(attributeValue, assignments) if assignments else None

    def save_assignments(self, doc: dict[str, Any]) -> None:
        for slot, name in doc["assignments"].items():
            if (bucket := self._buckets.get(slot, {}).get(name)) is not None:
                self._store.put(doc["attributeValue"], slot, bucket)


def write(unit: str, assignments: dict[str, str]) -> dict[str, Any]:
    """A document of sticky buckets."""
    return {"attributeName": ATTRIBUTE, "attributeValue": unit, "assignments": assignments}


def draw(test: Test[Choice], unit: str) -> Choice | None:
    """What `run_experiment` comes to for a unit that nothing is kept of: it spends two thirds of
    its time on addresses, forced variations and conditions, of which there are none here."""
    if test.namespace is not None and not inNamespace(unit, test.namespace):
        return None
    place = gbhash(test.seed or test.key, unit, test.hashVersion)
    number = -1 if place is None else chooseVariation(place, test.ranges or [])
    return test.variations[number] if number >= 0 else None


def prepare(experiment: Experiment) -> Prepared:
    """Every version has its own hash, so that a new one deals the shoppers anew."""
    arms, space, version = experiment.arms, experiment.namespace, experiment.version
    slot = name_slot(experiment.key, version)
    weights = [arm.weight for arm in arms]
    test = Test(
        experiment.key,
        [Choice(arm, arm.weight) for arm in arms],
        hashAttribute=ATTRIBUTE,
        hashVersion=HASH_VERSION,
        seed=slot if version else experiment.key,
        ranges=getBucketRanges(len(arms), experiment.coverage, weights),
        namespace=None if space is None else (space.name, space.low, space.high),
        meta=[{"key": arm.name} for arm in arms],  # without keys nothing sticks
        bucketVersion=version,
    )
    return Prepared(test, slot, {arm.name: Bucket(arm.name, arm.weight) for arm in arms})
