"""Ray Serve's router for us: what can share walks is kept together. Imported by Ray alone."""

from __future__ import annotations

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from server.fleet.orders import Order
from server.fleet.placement import Placement

MARGIN = 2.0
"""Requests by which a replica may be ahead of the others at any load."""


class Together(RequestRouter):  # type: ignore[misc]
    """Runs where orders are sent from, beside other loops in other processes: each keeps to the
    same order of replicas, and counts what it knows of."""

    _placement = Placement(())

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """One after the other, each where the one before has no room."""
        if not candidate_replicas:
            return []
        names = [each.replica_id.unique_id for each in candidate_replicas]
        if self._placement.names != tuple(names):
            self._placement = Placement(names)
        queues = self.replica_queue_len_cache
        loads = [float(queues.get(each.replica_id) or 0) for each in candidate_replicas]
        key = find_affinity(pending_request)
        order = self._placement.order(key, loads, sum(loads) / len(loads), MARGIN)
        return [[candidate_replicas[number]] for number in order]


def find_affinity(request: PendingRequest | None) -> bytes:
    order = request.args[0] if request is not None and request.args else None
    return order.affinity if isinstance(order, Order) else b""
