"""Answers with an image that is kept, or has it made once for all who ask at that time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from cachetools import TLRUCache

from server.core import CachePolicy, Degradation, ImageResult
from server.errors import DeadlineExceeded, Overloaded
from server.image_cache.audience import Audience, Watcher
from server.image_cache.shelf import CacheObserver, Shelf, ShelfFailed, Silence
from server.image_cache.stored import Kept, anonymize, is_worth_keeping, pack, unpack
from server.news import Listener
from server.single_flight import SingleFlight

MEMORY = "memory"
T = TypeVar("T")
Make = Callable[[float | None, Listener | None], Coroutine[Any, Any, ImageResult]]
"""Makes the image by a deadline on the monotonic clock, and tells of each step."""


class _Slot(NamedTuple):
    """What makes two askers want the same work: a strict one must not get a degraded image, one
    who waits not what goes after everybody else, nor one after a purge what was begun before it.
    Those who watch do so with previews of one size, None where nobody does."""

    name: str
    policy: CachePolicy
    may_degrade: bool
    is_background: bool
    num_purges: int
    preview_side: int | None


@dataclass(slots=True, eq=False)
class _Due:
    """By when a generation has to be done, and the latest that one of its askers could wait; and
    who watches it."""

    deadline_s: float
    latest_s: float
    audience: Audience = field(default_factory=Audience)


class _Memory(TLRUCache[str, Kept]):
    """The images used last; each goes when it is `ttl_s` old."""

    def __init__(
        self, max_bytes: int, ttl_s: float, clock: Callable[[], float], observer: CacheObserver
    ) -> None:
        super().__init__(
            max_bytes,
            ttu=lambda _, kept, __: kept.made_s + ttl_s,
            timer=clock,
            getsizeof=lambda kept: kept.num_bytes,
        )
        self._observer = observer

    def popitem(self) -> tuple[str, Kept]:
        self._observer.evicted(MEMORY, 1)
        return super().popitem()

    def keep(self, name: str, kept: Kept) -> None:
        """Not, where it is larger than all the room there is."""
        if kept.num_bytes <= self.maxsize:
            self[name] = kept
        self._observer.held(MEMORY, int(self.currsize))


class ImageCache:
    """Memory, and below it a shelf that outlives the process. Belongs to one event loop.

    `workers` pack and unpack. With `max_bytes` 0 and no shelf nothing is kept, and askers of the
    same still share one generation.
    """

    def __init__(
        self,
        max_bytes: int,
        ttl_s: float,
        workers: Executor,
        shelf: Shelf | None = None,
        observer: CacheObserver | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._observer = observer or Silence()
        self._memory = _Memory(max_bytes, ttl_s, clock, self._observer)
        self._ttl_s, self._workers, self._shelf, self._clock = ttl_s, workers, shelf, clock
        self._flights: SingleFlight[_Slot, ImageResult] = SingleFlight(self._end)
        self._due: dict[_Slot, _Due] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self._num_purges = 0

    async def answer(
        self,
        name: str,
        policy: CachePolicy,
        make: Make,
        deadline_s: float | None = None,
        may_degrade: bool = False,
        give_up_s: float | None = None,
        is_background: bool = False,
        listener: Listener | None = None,
        preview_side: int = 0,
    ) -> ImageResult:
        """The image of that name, or what `make` gives.

        What was not made for this asker says so, as `source` CACHE, and says nothing of who it was
        made for. `make` runs in a task of its own, which ends when nobody waits for it any more. An
        asker waits until `give_up_s`, or else `deadline_s`, at most; where `make` was cut short by
        the deadline of an earlier one, it is run again with the latest among those who wait. A
        `listener` is told of each step, once, by whoever's `make` it is.

        Raises what `make` raises, to all who wait for it, and DeadlineExceeded.
        """
        if policy is CachePolicy.BYPASS:
            return await make(deadline_s, listener)
        if policy is CachePolicy.USE and (kept := self._memory.get(name)) is not None:
            self._observer.hit(MEMORY)
            return kept.result
        watched = None if listener is None else preview_side
        slot = _Slot(name, policy, may_degrade, is_background, self._num_purges, watched)
        watcher = None if listener is None else Watcher(listener)
        give_up_s = deadline_s if give_up_s is None else give_up_s
        left_s = None if give_up_s is None else max(0.0, give_up_s - time.monotonic())
        try:
            async with asyncio.timeout(left_s) as wait:
                return await self._share(slot, make, _to_end(deadline_s), watcher)
        except TimeoutError:
            if not wait.expired():
                raise
            raise DeadlineExceeded("the image was not ready in time") from None

    async def purge(self) -> None:
        """Forgets every image, also those on the shelf and those that are being made now.

        Raises ShelfFailed. The memory of other processes keeps what it has for up to `ttl_s`.
        """
        self._num_purges += 1
        self._memory.clear()
        self._observer.held(MEMORY, 0)
        await self._finish_writes()
        if self._shelf is not None:
            await self._shelf.purge()

    async def forget(self, maker: str, *, is_shared: bool = True) -> int:
        """Drops what was made of one shopper's embedding (`ImageResult.maker`), off the shelf as
        well where `is_shared`; how many images. Raises ShelfFailed."""
        names = {name for name, kept in self._memory.items() if kept.result.maker == maker}
        for name in names:
            self._memory.pop(name, None)
        self._observer.held(MEMORY, int(self._memory.currsize))
        if self._shelf is not None and is_shared:
            await self._finish_writes()
            names |= await self._shelf.forget(maker)
        return len(names)

    async def close(self) -> None:
        await self._finish_writes()
        if self._shelf is not None:
            await self._shelf.close()

    async def _share(
        self, slot: _Slot, make: Make, deadline_s: float, watcher: Watcher | None
    ) -> ImageResult:
        latest_s = deadline_s
        while True:
            due = self._due.setdefault(slot, _Due(latest_s, latest_s))
            due.latest_s = max(due.latest_s, deadline_s)
            is_cut_short = due.deadline_s < deadline_s
            try:
                work = partial(self._find_or_make, slot, make, due)
                with nullcontext() if watcher is None else due.audience.joined_by(watcher):
                    result, is_joined = await self._flights.run(slot, work)
            except (DeadlineExceeded, Overloaded):
                if not is_cut_short:
                    raise
            else:
                if not is_joined:
                    return result
                if result.degradation is Degradation.NONE or not is_cut_short:
                    self._observer.joined()
                    return anonymize(result)
            latest_s = due.latest_s

    async def _find_or_make(self, slot: _Slot, make: Make, due: _Due) -> ImageResult:
        if slot.policy is CachePolicy.USE and (kept := await self._fetch(slot.name)) is not None:
            if slot.num_purges == self._num_purges:
                self._memory.keep(slot.name, kept)
                return kept.result
        self._observer.missed()
        deadline_s = None if due.deadline_s == math.inf else due.deadline_s
        result = await make(deadline_s, None if slot.preview_side is None else due.audience.tell)
        if is_worth_keeping(result) and slot.num_purges == self._num_purges:
            self._keep(slot.name, Kept(anonymize(result), self._clock()))
        return result

    def _end(self, slot: _Slot, task: asyncio.Task[ImageResult] | None) -> None:
        del self._due[slot]

    async def _fetch(self, name: str) -> Kept | None:
        """From the shelf; None where it is not there, too old or broken, or the shelf fails."""
        if self._shelf is None:
            return None
        try:
            if (data := await self._shelf.find(name)) is None:
                return None
            try:
                kept = await self._run(unpack, data)
            except ValueError:
                self._observer.failed(self._shelf.name)
                await self._shelf.drop(name)
                return None
        except ShelfFailed:
            self._observer.failed(self._shelf.name)
            return None
        if kept.made_s + self._ttl_s <= self._clock():
            return None
        self._observer.hit(self._shelf.name)
        return kept

    def _keep(self, name: str, kept: Kept) -> None:
        self._memory.keep(name, kept)
        if self._shelf is not None:
            write = asyncio.create_task(self._put_down(self._shelf, name, kept))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)

    async def _put_down(self, shelf: Shelf, name: str, kept: Kept) -> None:
        try:
            await shelf.keep(name, await self._run(pack, kept), kept.result.maker)
        except ShelfFailed:
            self._observer.failed(shelf.name)

    async def _finish_writes(self) -> None:
        if self._writes:
            await asyncio.wait(self._writes)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)


def _to_end(deadline_s: float | None) -> float:
    return math.inf if deadline_s is None else deadline_s
