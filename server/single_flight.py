"""Work that many ask for at once, and that is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    num_waiting: int = 0


class SingleFlight(Generic[K, T]):
    """What is under way, by key. Belongs to one event loop.

    Who asks for what is under way already waits for it with the others; it is cancelled when nobody
    waits any more. `on_end(key, task)` is called once for each, before anybody hears of it: with
    the finished task, or with None where all have left.
    """

    def __init__(self, on_end: Callable[[K, asyncio.Task[T] | None], None]) -> None:
        self._on_end = on_end
        self._flights: dict[K, _Flight[T]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    async def run(self, key: K, make: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """What `make` gives or raises, and whether another's work was joined for that."""
        flight = self._flights.get(key)
        is_joined = flight is not None
        if flight is None:
            flight = self._start(key, make)
        flight.num_waiting += 1
        try:
            return await asyncio.shield(flight.task), is_joined
        finally:
            flight.num_waiting -= 1
            if flight.num_waiting == 0 and not flight.task.done():
                # Forgotten at once, so that whoever comes now starts anew.
                del self._flights[key]
                self._on_end(key, None)
                flight.task.cancel()

    def _start(self, key: K, make: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        flight = self._flights[key] = _Flight(asyncio.create_task(make()))
        flight.task.add_done_callback(lambda task: self._finish(key, flight))
        return flight

    def _finish(self, key: K, flight: _Flight[T]) -> None:
        if not flight.task.cancelled():
            flight.task.exception()  # nobody may be waiting any more, and that is no fault
        if self._flights.get(key) is flight:
            del self._flights[key]
            self._on_end(key, flight.task)
