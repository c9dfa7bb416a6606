"""Makes repeats harmless: a request id gets one answer, however often it asks, for a while.

Concurrent repeats join the first and share its work. A failure is not remembered. Answers are kept
for `window_s`, and the oldest go earlier where there are too many or they take too many bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from server.errors import InvalidRequest, Violation
from server.single_flight import SingleFlight

T = TypeVar("T")
Slot = tuple[str, int]
"""A request id and the number of the answer, for requests that have several."""


@dataclass(slots=True)
class _Claim:
    digest: bytes
    owner: str
    num_slots: int = 0


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    answer: T
    num_bytes: int
    expires_s: float


class Repeats(Generic[T]):
    """The answers of one server. Belongs to one event loop."""

    def __init__(
        self,
        window_s: float,
        max_entries: int,
        max_bytes: int,
        size_of: Callable[[T], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window_s = window_s
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._clock = clock
        self._claims: dict[str, _Claim] = {}
        self._running: SingleFlight[Slot, T] = SingleFlight(self._finish)
        self._kept: OrderedDict[Slot, _Kept[T]] = OrderedDict()  # in the order of expiry
        self._num_bytes = 0

    def check(self, request_id: str, digest: bytes) -> None:
        """Raises InvalidRequest where the id stands for other content."""
        self._expire()
        claim = self._claims.get(request_id)
        if claim is not None and claim.digest != digest:
            raise InvalidRequest(
                Violation("request_id", "was used before for a request with other content"),
                reason="REQUEST_ID_REUSED",
            )

    def knows(self, request_id: str, number: int = 0) -> bool:
        """Whether the answer is there or on its way."""
        self._expire()
        return (request_id, number) in self._kept or (request_id, number) in self._running

    async def answer(
        self,
        request_id: str,
        digest: bytes,
        make: Callable[[], Coroutine[Any, Any, T]],
        number: int = 0,
        owner: str = "",
    ) -> tuple[T, bool]:
        """The answer, and whether it is that of an earlier request. `owner` says whose it is.

        Raises what `make` raises, and InvalidRequest where the id stands for other content.
        """
        self.check(request_id, digest)
        slot = (request_id, number)
        if kept := self._kept.get(slot):
            return kept.answer, True
        if slot not in self._running:
            self._claims.setdefault(request_id, _Claim(digest, owner)).num_slots += 1
        return await self._running.run(slot, make)

    def forget(self, owner: str, is_theirs: Callable[[T], bool] = lambda _: False) -> int:
        """Drops the answers of one owner, and those that are theirs by another's request; how
        many."""
        slots = [
            slot
            for slot, kept in self._kept.items()
            if (owner and self._claims[slot[0]].owner == owner) or is_theirs(kept.answer)
        ]
        for slot in slots:
            self._num_bytes -= self._kept.pop(slot).num_bytes
            self._release(slot)
        return len(slots)

    def _finish(self, slot: Slot, task: asyncio.Task[T] | None) -> None:
        if task is None or task.cancelled() or task.exception() is not None:
            self._release(slot)
            return
        num_bytes = self._size_of(task.result())
        if num_bytes > self._max_bytes:
            self._release(slot)
            return
        self._kept[slot] = _Kept(task.result(), num_bytes, self._clock() + self._window_s)
        self._num_bytes += num_bytes
        while self._num_bytes > self._max_bytes or len(self._kept) > self._max_entries:
            self._drop_oldest()

    def _expire(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).expires_s <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        slot, kept = self._kept.popitem(last=False)
        self._num_bytes -= kept.num_bytes
        self._release(slot)

    def _release(self, slot: Slot) -> None:
        claim = self._claims[slot[0]]
        claim.num_slots -= 1
        if claim.num_slots == 0:
            del self._claims[slot[0]]
