"""How replicas are called, for those who do not care what runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from server.fleet.orders import Order, Outcome, Paces, Step

Hear = Callable[[Step], None]


class ReplicaLost(Exception):
    """The replica that had the order is gone, and what it did is gone with it: another one makes
    the very same of the order."""


class Transport(Protocol):
    """Replicas of one kind; whoever calls does not say which."""

    async def sample(self, order: Order, hear: Hear | None = None) -> Outcome:
        """Waits for a replica where there is none. Cancelling it frees what the replica holds; it
        is told of each step where somebody hears. Raises ReplicaLost."""

    async def measure(self) -> Paces:
        """What ticks take on one of the replicas. Raises ReplicaLost."""

    async def count(self) -> int:
        """Replicas that run."""

    async def forget_walks(self) -> None:
        """Every replica gives up what it keeps of walks."""

    async def close(self) -> None: ...
