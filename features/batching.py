"""Many small reads as few large ones: everything asked for in one turn of the event loop is read
together, each key once, and what is asked for while a read is under way waits for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Wanted = Sequence[tuple[str, Sequence[str]]]
"""Entity ids by view name."""

Answers = Mapping[str, Mapping[str, Any]]
"""Records by view name, then by entity id; a view that failed is not there."""

Fetch = Callable[[Mapping[str, list[str]], Callable[[Answers], None]], None]
"""Starts reading ids by view name; calls back on the event loop, once, when it is done."""

Waiter = asyncio.Future[Answers | None]


class TurnBatcher:
    """Joins concurrent reads. Lives on one event loop; a late fetch never blocks it."""

    def __init__(self, fetch: Fetch, max_in_flight: int) -> None:
        self._fetch = fetch
        self._max_in_flight = max_in_flight
        self._num_in_flight = 0
        self._waiting: dict[Waiter, Wanted] = {}
        self._fetching: set[Waiter] = set()
        self._is_flush_due = False

    async def read(self, wanted: Wanted, timeout_s: float) -> Answers | None:
        """The answers, or None when they did not come within `timeout_s` seconds."""
        if timeout_s <= 0:
            return None
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        self._waiting[waiter] = wanted
        if not self._is_flush_due:
            self._is_flush_due = True
            loop.call_soon(self._flush)
        alarm = loop.call_later(timeout_s, _settle, waiter, None)
        try:
            return await waiter
        finally:
            alarm.cancel()
            self._waiting.pop(waiter, None)
            self._fetching.discard(waiter)

    def close(self) -> None:
        """Those who wait get None."""
        for waiter in (*self._waiting, *self._fetching):
            _settle(waiter, None)

    def _flush(self) -> None:
        self._is_flush_due = False
        if not self._waiting or self._num_in_flight >= self._max_in_flight:
            return  # flushed again when a fetch ends
        waiting, self._waiting = self._waiting, {}
        self._fetching.update(waiting)
        self._num_in_flight += 1

        def answer(answers: Answers) -> None:
            self._num_in_flight -= 1
            for waiter in waiting:
                _settle(waiter, answers)
            self._flush()

        self._fetch(collate(waiting.values()), answer)


def _settle(waiter: Waiter, answers: Answers | None) -> None:
    if not waiter.done():
        waiter.set_result(answers)


def collate(requests: Iterable[Wanted]) -> dict[str, list[str]]:
    """Each view's ids, each id once, in the order in which they were first asked for."""
    keys: dict[str, dict[str, None]] = {}
    for wanted in requests:
        for view, ids in wanted:
            keys.setdefault(view, {}).update(dict.fromkeys(ids))
    return {view: list(ids) for view, ids in keys.items()}
