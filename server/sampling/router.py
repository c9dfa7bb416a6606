"""One engine a device, and who gets a request: the device that would have done it first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from server.errors import Overloaded, Unavailable
from server.sampling.engine import STOPPED, Engine
from server.sampling.row import RowRequest, Ticket

MAX_REMEMBERED = 4096
Listener = Callable[[int, Tensor], None]


class Router:
    """Spreads requests over engines that serve the same models.

    Rows that can share a walk belong together: a request goes where its walk was last seen, unless
    that device is behind by more than `patience_s` of work.
    """

    def __init__(self, engines: Sequence[Engine], patience_s: float = 0.25) -> None:
        if not engines:
            raise ValueError("a router needs at least one engine")
        self.engines = tuple(engines)
        self._patience_s = patience_s
        self._last: dict[bytes, Engine] = {}

    @property
    def is_healthy(self) -> bool:
        """Whether any device still samples."""
        return any(engine.is_healthy for engine in self.engines)

    @property
    def num_rows(self) -> int:
        return sum(engine.num_rows for engine in self.engines)

    def submit(self, requests: Sequence[RowRequest], on_step: Listener | None = None) -> Ticket:
        """Raises `Overloaded` where no device has room, `Unavailable` where there is none left."""
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
            return ticket
        raise refusal or Unavailable(*STOPPED)

    def rank(self, requests: Sequence[RowRequest]) -> list[Engine]:
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

    def close(self, timeout_s: float = 10.0) -> None:
        for engine in self.engines:
            engine.close(timeout_s)

    def _remember(self, requests: Sequence[RowRequest], engine: Engine) -> None:
        for request in requests:
            self._last.pop(request.walk[0].key, None)
            self._last[request.walk[0].key] = engine
        while len(self._last) > MAX_REMEMBERED:
            del self._last[next(iter(self._last))]
