"""Who gets a request: always the same replica for the same walk, unless that has too much to do.

Rendezvous hashing (Thaler and Ravishankar, 1998), with bounded loads (Mirrokni, Thorup and
Zadimoghaddam, 2018): a replica that comes or goes moves only what belongs to it, and a product that
everybody asks for spills over to the next in its own order, where its walks are kept as well. Plain
Python: it decides, others do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_REMEMBERED = 65_536

SLACK = 1.25
"""How much more than the mean a replica may have to do before its next request goes elsewhere."""

NUM_CHOICES = 8
"""Replicas that are thought of for a request: beyond that one is as good as another."""


class Placement:
    """The order in which replicas are asked, for as long as there are just these."""

    def __init__(
        self, names: Sequence[str], slack: float = SLACK, num_choices: int = NUM_CHOICES
    ) -> None:
        if len(set(names)) != len(names):
            raise ValueError("two replicas of one name")
        self.names = tuple(names)
        self._slack, self._num_choices = slack, num_choices
        self._hashes = np.array([_hash(name.encode()) for name in names], np.uint64)
        self._ranks: dict[bytes, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def rank(self, key: bytes) -> tuple[int, ...]:
        """Numbers of the replicas that come first for this key, whatever they have to do."""
        if (known := self._ranks.get(key)) is None:
            scores = _mix(self._hashes ^ np.uint64(_hash(key)))
            count = min(self._num_choices, len(scores))
            first = np.argpartition(~scores, count - 1)[:count]
            known = tuple(int(number) for number in first[np.argsort(~scores[first])])
            if len(self._ranks) >= MAX_REMEMBERED:
                del self._ranks[next(iter(self._ranks))]
            self._ranks[key] = known
        return known

    def order(
        self, key: bytes, loads: Sequence[float], mean: float, margin: float = 0.0
    ) -> list[int]:
        """The same, those first that have no more to do than the slack over `mean`, and `margin`;
        then the others, the least busy first. Loads are in any unit, by replica."""
        ranked, bound = self.rank(key), self._slack * mean + margin
        good = [number for number in ranked if loads[number] <= bound]
        if len(good) == len(ranked):
            return good
        busy = [number for number in ranked if loads[number] > bound]
        return good + sorted(busy, key=lambda number: loads[number])


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
