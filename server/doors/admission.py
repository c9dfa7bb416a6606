"""Lets requests in: none before the engine is warm, not too many at once, none when stopping."""

from __future__ import annotations

import asyncio
import random
import time
from enum import Enum
from typing import Protocol

from server.errors import Overloaded, Unavailable

_POLL_S = 0.02
_QUIET_S = 0.2
_MAX_QUIET_WAIT_S = 2.0


class State(Enum):
    STARTING = "starting"
    OPEN = "open"
    STOPPING = "stopping"


class RefusalObserver(Protocol):
    def refused(self, reason: str) -> None: ...


class Gate:
    """Counts who is inside. Belongs to one event loop."""

    def __init__(self, max_in_flight: int, observer: RefusalObserver) -> None:
        self.state = State.STARTING
        self.num_in_flight = 0
        self._max_in_flight = max_in_flight
        self._observer = observer
        self._last_arrival_s = time.monotonic()
        self._typical_s = 0.5

    def enter(self) -> None:
        """Raises Unavailable or Overloaded; otherwise `leave` must follow."""
        self._last_arrival_s = time.monotonic()
        if self.state is State.STARTING:
            self._observer.refused("starting")
            raise Unavailable("the server is warming up", reason="STARTING")
        if self.state is State.STOPPING:
            self._observer.refused("stopping")
            raise Unavailable("the server is stopping", reason="STOPPING")
        if self.num_in_flight >= self._max_in_flight:
            self._observer.refused("in_flight")
            raise Overloaded(self._pause_s())
        self.num_in_flight += 1

    def leave(self, seconds: float) -> None:
        self.num_in_flight -= 1
        self._typical_s += 0.05 * (seconds - self._typical_s)

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nobody is inside and nobody knocks; False where someone is left.

        Requests that reached the transport but not yet the gate would be cancelled by a server that
        stops now, hence the wait for quiet.
        """
        give_up_s = time.monotonic() + timeout_s
        while self.num_in_flight:
            if time.monotonic() >= give_up_s:
                return False
            await asyncio.sleep(_POLL_S)
        hush_s = min(give_up_s, time.monotonic() + _MAX_QUIET_WAIT_S)
        while (now_s := time.monotonic()) < hush_s and now_s - self._last_arrival_s < _QUIET_S:
            await asyncio.sleep(_POLL_S)
        return True

    def _pause_s(self) -> float:
        """Half of a typical request, spread so that the refused do not come back all at once."""
        return min(5.0, max(0.05, self._typical_s / 2)) * random.uniform(0.5, 1.5)
