"""Replicas in this process, with real engines, which die when they are told to."""

from __future__ import annotations

import asyncio
from functools import partial

import torch

from server.fleet.orders import pack, unpack
from server.fleet.pool import Pool
from server.fleet.replica import Replica
from server.fleet.transport import ReplicaLost
from server.sampling.engine import EngineLimits
from tests.server.sampling.closed_model import SHAPE

CPU = torch.device("cpu")


class Mortal:
    """A transport to replicas in turn. What they say is packed and unpacked as on a wire."""

    def __init__(self, *engines):
        self.replicas = [Replica(partial(pick, engine)) for engine in engines]
        self.orders, self.num_forgotten, self.is_closed = [], 0, False
        self._deaths = asyncio.Event()

    def kill_first(self):
        """Whoever waits for it loses what it did."""
        del self.replicas[0]
        self._deaths.set()
        self._deaths = asyncio.Event()

    async def sample(self, order, hear=None):
        self.orders.append(order)
        if not self.replicas:
            await asyncio.sleep(60)
        work = asyncio.create_task(self._follow(self.replicas[0], order, hear))
        death = asyncio.create_task(self._deaths.wait())
        try:
            await asyncio.wait([work, death], return_when=asyncio.FIRST_COMPLETED)
            if death.done():
                raise ReplicaLost("it was killed")
            return work.result()
        finally:
            for task in (work, death):
                task.cancel()
            await asyncio.gather(work, death, return_exceptions=True)

    async def _follow(self, replica, order, hear):
        order = unpack(pack(order), CPU)
        if hear is None:
            return unpack(pack(await replica.sample(order)), CPU)
        last = None
        async for told in replica.follow(order):
            last = unpack(pack(told), CPU)
            if hasattr(last, "guess"):
                hear(last)
        return last

    async def measure(self):
        return self.replicas[0].measure()

    async def forget_walks(self):
        self.num_forgotten += sum(replica.forget_walks() for replica in self.replicas)

    async def count(self):
        return len(self.replicas)

    async def close(self):
        self.is_closed = True


def pick(engine):
    return engine


def open_pool(transport, name="pool", models=("closed",), **options):
    limits = EngineLimits(buckets=(1, 2, 4, 8, 16), max_rows=16)
    return Pool(name, dict.fromkeys(models, SHAPE), transport, limits, **options)
