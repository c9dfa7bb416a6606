"""News of batches for those who watch: one reader for each batch, whatever their number.

Whoever works on a batch nudges its reader. Where that is another process nobody does: hence the
reader also looks by itself now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from server.batches.batch import Batch
from server.errors import Unavailable

_POLL_S = 1.0
_PAUSE_S = 0.1  # a batch that goes fast is not told of more often


@dataclass(slots=True)
class _Feed:
    next: asyncio.Future[Batch]
    nudged: asyncio.Event = field(default_factory=asyncio.Event)
    latest: Batch | None = None
    num_watchers: int = 0
    reader: asyncio.Task[None] | None = None


class Feeds:
    """Belongs to one event loop."""

    def __init__(self, read: Callable[[str], Awaitable[Batch]]) -> None:
        self._read = read
        self._feeds: dict[str, _Feed] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._feeds)

    def nudge(self, batch_id: str) -> None:
        """It has come further, maybe."""
        if (feed := self._feeds.get(batch_id)) is not None:
            feed.nudged.set()

    async def follow(self, batch_id: str) -> AsyncGenerator[Batch, None]:
        """The batch as it is, and again whenever it has come further, until it is closed.

        Raises what reading raises, and Unavailable where the server stops.
        """
        if self._is_closed:
            raise _stopping()
        if (feed := self._feeds.get(batch_id)) is None:
            feed = self._feeds[batch_id] = _Feed(asyncio.get_running_loop().create_future())
            feed.reader = asyncio.create_task(self._keep_reading(batch_id, feed))
        feed.num_watchers += 1
        try:
            told: Batch | None = None
            while told is None or not told.is_closed:
                latest = feed.latest
                if latest is None or latest.is_as_far_as(told):
                    latest = await asyncio.shield(feed.next)
                told = latest
                yield told
        finally:
            feed.num_watchers -= 1
            if not feed.num_watchers:
                self._drop(batch_id, feed)

    def close(self) -> None:
        """Sends everybody away."""
        self._is_closed = True
        for batch_id, feed in tuple(self._feeds.items()):
            self._drop(batch_id, feed)
            _fail(feed, _stopping())

    async def _keep_reading(self, batch_id: str, feed: _Feed) -> None:
        try:
            while feed.latest is None or not feed.latest.is_closed:
                batch = await self._read(batch_id)
                if not batch.is_as_far_as(feed.latest):
                    told, feed.next = feed.next, asyncio.get_running_loop().create_future()
                    feed.latest = batch
                    told.set_result(batch)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await feed.nudged.wait()
                    await asyncio.sleep(_PAUSE_S)
                feed.nudged.clear()
        except Exception as error:  # each watcher hears of it
            self._drop(batch_id, feed)
            _fail(feed, error)

    def _drop(self, batch_id: str, feed: _Feed) -> None:
        """Whoever asks from now on gets a new one."""
        if self._feeds.get(batch_id) is feed:
            del self._feeds[batch_id]
        if feed.reader is not asyncio.current_task() and feed.reader is not None:
            feed.reader.cancel()


def _fail(feed: _Feed, error: Exception) -> None:
    if not feed.next.done():
        feed.next.set_exception(error)
        feed.next.exception()  # it is told even where nobody waits just now


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping", reason="STOPPING")
