"""What the door appends to, and what goes on in the background."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import logs
from server.database import close, is_sqlite
from server.errors import Unavailable
from server.experiments.event_log.checkpoints import Checkpoints
from server.experiments.event_log.retention import Forgotten, expire, forget
from server.experiments.event_log.sticky_buckets import StickyBuckets
from server.experiments.event_log.writer import Writer
from server.experiments.events import Event, Receipt

_EXPIRY_PAUSE_S = 60.0
_PIECE_PAUSE_S = 0.05  # for others who want to write

log = logs.logger(__name__)


class EventLog:
    """Belongs to one event loop; several processes may share a database."""

    def __init__(
        self,
        engine: Engine,
        max_waiting: int = 20_000,
        keep_s: float = 400 * 86_400.0,
        timeout_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`engine` is one of `opening.open_events`. At most `max_waiting` events wait to be
        written, each for `timeout_s`; it is kept for `keep_s` from then on."""
        self._engine, self._keep_s, self._timeout_s, self._clock = engine, keep_s, timeout_s, clock
        self._turn = threading.Lock()
        self._checkpoints = Checkpoints(engine, self._turn) if is_sqlite(engine) else None
        self._writer = Writer(engine, self._turn, max_waiting, clock, self._checkpoints)
        self._expiry: asyncio.Task[None] | None = None
        self.sticky_buckets = StickyBuckets(engine, self._turn)

    @property
    def num_waiting(self) -> int:
        """Events that are not being written yet."""
        return self._writer.num_waiting

    def start(self) -> None:
        self._writer.start()
        if self._checkpoints is not None:
            self._checkpoints.start()
        self.sticky_buckets.start()
        self._expiry = asyncio.create_task(self._expire())

    async def close(self) -> None:
        """Writes what waits still."""
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)
        for part in (self._writer, self.sticky_buckets, self._checkpoints):
            if part is not None:
                await asyncio.to_thread(part.close, self._timeout_s)
        await close(self._engine)

    async def append(self, events: Sequence[Event]) -> Receipt:
        """Returns when they are on disk: all of them, or none where it raises Overloaded or
        Unavailable. The same again is harmless.

        That they are sound is for the door to check. What the database refuses to keep raises its
        own error, for these events alone.
        """
        if not events:
            return Receipt(0, 0)
        receipt = asyncio.wrap_future(self._writer.submit(events))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await receipt
        except TimeoutError:
            raise Unavailable("events can't be kept now", "EVENTS_UNAVAILABLE") from None

    async def forget(self, units: Collection[str]) -> Forgotten:
        """Deletes all that there is of these pseudonyms by now. Raises Unavailable."""
        try:
            return await asyncio.to_thread(forget, self._engine, units, self._turn)
        except SQLAlchemyError as error:
            log.error("events can't be forgotten", exc_info=error)
            raise Unavailable("events can't be forgotten now", "EVENTS_UNAVAILABLE") from error

    async def _expire(self) -> None:
        while True:
            count = 0
            with suppress(SQLAlchemyError):  # whoever writes will tell; the next time, then
                while num := await asyncio.to_thread(self._expire_piece):
                    count += num
                    await asyncio.sleep(_PIECE_PAUSE_S)
            if count:
                log.info("events were forgotten", count=count)
            await asyncio.sleep(_EXPIRY_PAUSE_S)

    def _expire_piece(self) -> int:
        return expire(self._engine, self._clock() - self._keep_s, self._turn)
