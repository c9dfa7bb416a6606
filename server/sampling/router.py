"""One engine a device, and who gets a request: the device that would have done it first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from torch import Tensor

from server.errors import Overloaded, Unavailable
from server.sampling.admission import Demand, Forecast
from server.sampling.engine import STOPPED
from server.sampling.fairness import Fairness
from server.sampling.observer import EngineObserver
from server.sampling.row import RowRequest, Ticket

MAX_REMEMBERED = 4096
MIN_PAUSE_S = 0.05
Listener = Callable[[int, Tensor], None]


class Site(Protocol):
    """Where rows are sampled: the engine of a device, or replicas elsewhere."""

    observer: EngineObserver

    @property
    def is_healthy(self) -> bool: ...

    @property
    def num_rows(self) -> int: ...

    @property
    def tickets(self) -> tuple[Ticket, ...]: ...

    def submit(self, requests: Sequence[RowRequest], on_step: Listener | None = None) -> Ticket: ...

    def forecast(self) -> Forecast: ...

    def demand(self, requests: Sequence[RowRequest]) -> list[Demand]: ...

    def load_s(self) -> float: ...

    def forget_walks(self) -> int: ...

    def close(self, timeout_s: float = 10.0) -> None: ...


class Router:
    """Spreads requests over engines that serve the same models.

    Rows that can share a walk belong together: a request goes where its walk was last seen, unless
    that device is behind by more than `patience_s` of work. Where there is no room, the tenant with
    most rows is refused first; `find_tenant` says whose the call is that is being answered.
    """

    def __init__(
        self,
        engines: Sequence[Site],
        patience_s: float = 0.25,
        find_tenant: Callable[[], Hashable] = lambda: "",
    ) -> None:
        if not engines:
            raise ValueError("a router needs at least one engine")
        self.engines: tuple[Site, ...] = tuple(engines)
        self._patience_s = patience_s
        self._last: dict[bytes, Site] = {}
        self._fairness, self._find_tenant = Fairness(), find_tenant

    @property
    def is_healthy(self) -> bool:
        """Whether any device still samples."""
        return any(engine.is_healthy for engine in self.engines)

    @property
    def num_rows(self) -> int:
        return sum(engine.num_rows for engine in self.engines)

    def submit(self, requests: Sequence[RowRequest], on_step: Listener | None = None) -> Ticket:
        """Raises `Overloaded` where no device has room, or others are to have it; `Unavailable`
        where there is no device left."""
        tenant, is_waited_for = self._find_tenant(), not requests[0].is_background
        if is_waited_for and not self._fairness.admits(tenant, len(requests), self._count_held()):
            raise self._put_off()
        refusal: Overloaded | None = None
        for engine in self.rank(requests):
            try:
                ticket = engine.submit(requests, on_step)
            except Overloaded as full:
                refusal = refusal or full
                continue
            except Unavailable:
                continue  # it stopped since
            self._remember(requests, engine)
            ticket.tenant = tenant
            return ticket
        if refusal is not None and is_waited_for:
            self.note_refusal()
        raise refusal or Unavailable(*STOPPED)

    def note_refusal(self) -> None:
        """The tenant of the call was turned away because of the others: they leave room now."""
        self._fairness.note_refusal(self._find_tenant(), self._count_held())

    def _count_held(self) -> Counter[Hashable]:
        """Rows that somebody waits for, by tenant."""
        held: Counter[Hashable] = Counter()
        for engine in self.engines:
            for ticket in engine.tickets:
                if not (ticket.is_released or ticket.is_background):
                    held[ticket.tenant] += ticket.num_rows
        return held

    def rank(self, requests: Sequence[RowRequest]) -> list[Site]:
        """Healthy engines, the one that should take these rows first.

        Raises `Unavailable` where there is none.
        """
        healthy = [engine for engine in self.engines if engine.is_healthy]
        if not healthy:
            raise Unavailable(*STOPPED)
        if len(self.engines) == 1:
            return healthy
        loads_s = {engine: engine.load_s() for engine in healthy}
        if (known := self._last.get(requests[0].walk[0].key)) in loads_s:
            loads_s[known] -= self._patience_s
        return sorted(healthy, key=lambda engine: loads_s[engine])

    def forget_walks(self) -> int:
        """Gives up what is kept of walks; how many states."""
        return sum(engine.forget_walks() for engine in self.engines)

    def close(self, timeout_s: float = 10.0) -> None:
        for engine in self.engines:
            engine.close(timeout_s)

    def _put_off(self) -> Overloaded:
        engine = min(self.engines, key=lambda engine: engine.load_s())
        engine.observer.refused("tenant_share")
        return Overloaded(max(MIN_PAUSE_S, engine.load_s() / 2))

    def _remember(self, requests: Sequence[RowRequest], engine: Site) -> None:
        for request in requests:
            self._last.pop(request.walk[0].key, None)
            self._last[request.walk[0].key] = engine
        while len(self._last) > MAX_REMEMBERED:
            del self._last[next(iter(self._last))]
