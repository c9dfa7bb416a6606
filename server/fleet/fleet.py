"""A pool for each kind of replica: a request goes to the one that has its model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from server.errors import Unavailable
from server.fleet.pool import Pool, stopped
from server.sampling.engine import STOPPED
from server.sampling.router import Router, Site
from server.sampling.row import RowRequest


class Fleet(Router):
    """A router whose engines are elsewhere, and come and go with their models.

    What a tenant may hold is decided here as for engines of this process. Belongs to one event
    loop.
    """

    def __init__(
        self, pools: Sequence[Pool], find_tenant: Callable[[], Hashable] = lambda: ""
    ) -> None:
        super().__init__(pools, find_tenant=find_tenant)
        self._pools = {model: pool for pool in pools for model in pool.shapes}

    @property
    def is_healthy(self) -> bool:
        """Whether every model is served: one that is not there is nobody else's."""
        return all(engine.is_healthy for engine in self.engines)

    def rank(self, requests: Sequence[RowRequest]) -> list[Site]:
        model = requests[0].model
        pool = self._pools.get(model)
        if pool is None:
            raise Unavailable(*STOPPED)
        if not pool.is_healthy:
            raise stopped(pool.name)
        return [pool]

    def add(self, pool: Pool) -> None:
        self.engines = (*self.engines, pool)
        self._pools |= dict.fromkeys(pool.shapes, pool)

    async def remove(self, pool: Pool) -> None:
        """Nothing more goes there, and it is closed."""
        self.engines = tuple(engine for engine in self.engines if engine is not pool)
        self._pools = {model: each for model, each in self._pools.items() if each is not pool}
        await pool.shut()

    async def close_all(self) -> None:
        for pool in tuple(dict.fromkeys(self._pools.values())):
            await self.remove(pool)
