"""Which arm a shopper was given once, so that a change of weights moves nobody."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

RECALL_S = 0.25
"""How long a store may take; without it the weights decide."""

_NUM_READERS = 4


@dataclass(frozen=True, slots=True)
class Bucket:
    """An arm, and the probability with which it was given when it was."""

    arm: str
    propensity: float


class StickyStore(Protocol):
    """Buckets of a unit by slot: an experiment's key and version, as `name_slot` writes them.

    Called while a request waits, `get` for everybody who was not seen for long, `put` for
    everybody new: `put` may write later. What is lost is given again, by the weights of then.
    """

    def get(self, unit: str) -> Mapping[str, Bucket]: ...

    def put(self, unit: str, slot: str, bucket: Bucket) -> None:
        """Where the slot has a bucket already, that one stays."""


class StickyMemory:
    """The units seen last, over a store if there is one. Belongs to one thread."""

    def __init__(self, store: StickyStore | None = None, max_units: int = 65_536) -> None:
        self._store, self._max_units = store, max_units
        self._units: OrderedDict[str, dict[str, Bucket]] = OrderedDict()
        self._readers = ThreadPoolExecutor(_NUM_READERS, "sticky buckets are read")

    async def recall(self, unit: str) -> None:
        """Asks the store beside the event loop, so that `get` need not."""
        if self._store is None or not unit or unit in self._units:
            return
        found: Mapping[str, Bucket] = {}
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(RECALL_S):
                found = await loop.run_in_executor(self._readers, self._store.get, unit)
        self._units.setdefault(unit, dict(found))
        self._shrink()

    def get(self, unit: str) -> Mapping[str, Bucket]:
        return self._find(unit)

    def put(self, unit: str, slot: str, bucket: Bucket) -> None:
        kept = self._find(unit)
        if slot in kept:
            return
        kept[slot] = bucket
        self._units[unit] = kept
        self._shrink()
        if self._store is not None:
            self._store.put(unit, slot, bucket)

    def forget(self, unit: str) -> int:
        """How many buckets went, of those in memory."""
        return len(self._units.pop(unit, {}))

    def _find(self, unit: str) -> dict[str, Bucket]:
        if (kept := self._units.get(unit)) is not None:
            self._units.move_to_end(unit)
            return kept
        if self._store is None:
            return {}
        kept = self._units[unit] = dict(self._store.get(unit))
        self._shrink()
        return kept

    def _shrink(self) -> None:
        while len(self._units) > self._max_units:
            self._units.popitem(last=False)


def name_slot(experiment: str, version: int) -> str:
    """As GrowthBook does."""
    return f"{experiment}__{version}"
