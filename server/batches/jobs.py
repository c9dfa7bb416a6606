"""Batches, for the doors: taken in, shown, cancelled, watched, and worked on in the background."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import database, logs
from server.batches.batch import Batch, Submission
from server.batches.claims import Claims
from server.batches.feeds import Feeds
from server.batches.store import BatchStore
from server.batches.worker import Worker, Workplace, locate
from server.errors import Unavailable

_EXPIRY_PAUSE_S = 60.0
_NUM_THREADS = 2

T = TypeVar("T")
log = logs.logger(__name__)


class Jobs:
    """Belongs to one event loop. Raises Unavailable where the database does not answer."""

    def __init__(
        self,
        engine: Engine,
        workplace: Workplace,
        max_batches: int = 100,
        keep_s: float = 7 * 86400.0,
        lease_s: float = 10.0,
    ) -> None:
        """At most `max_batches` wait or run; one that has ended is forgotten after `keep_s`; one
        whose process died is taken up after `lease_s`."""
        self._engine, self._root, self._keep_s = engine, workplace.root, keep_s
        self._store = BatchStore(engine, max_batches)
        self._feeds = Feeds(self.get)
        claims = Claims(engine, uuid.uuid4().hex, lease_s)
        self._worker = Worker(claims, workplace, self._feeds.nudge)
        self._threads = ThreadPoolExecutor(_NUM_THREADS, "batches")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Work from now on, on what an earlier process left as well."""
        self._tasks = [asyncio.create_task(work()) for work in (self._worker.run, self._expire)]

    async def close(self) -> None:
        """Free what is under way; it goes on in the next process."""
        self._feeds.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown()
        await database.close(self._engine)

    async def submit(self, submission: Submission) -> tuple[Batch, bool]:
        """The batch, and whether it was known. Raises InvalidRequest, Overloaded."""
        batch, was_known = await self._run(self._store.submit, submission)
        self._worker.nudge()
        return self._locate(batch), was_known

    async def get(self, batch_id: str) -> Batch:
        """Raises BatchNotFound."""
        return self._locate(await self._run(self._store.get, batch_id))

    async def list_page(
        self, num: int, before: int | None = None, prefix: str = ""
    ) -> tuple[list[Batch], int | None]:
        """The youngest first, of those before the key whose ids begin so; and the key of the next
        page, if any."""
        page, following = await self._run(self._store.list_page, num, before, prefix)
        return [self._locate(batch) for batch in page], following

    async def cancel(self, batch_id: str) -> Batch:
        """Frees what is under way; what was made stays. Raises BatchNotFound."""
        batch = await self._run(self._store.cancel, batch_id)
        self._worker.nudge()
        self._feeds.nudge(batch_id)
        return self._locate(batch)

    def watch(self, batch_id: str) -> AsyncGenerator[Batch, None]:
        """The batch now, and whenever it has come further, until it has ended. Raises
        BatchNotFound."""
        return self._feeds.follow(batch_id)

    def dismiss(self) -> None:
        """Sends those away who watch: the server stops."""
        self._feeds.close()

    async def _expire(self) -> None:
        while True:
            try:
                count = await self._run(self._store.expire, self._keep_s)
                if count:
                    log.info("batches were forgotten", count=count)
            except Unavailable:
                pass  # it is in the log; the next time, then
            await asyncio.sleep(_EXPIRY_PAUSE_S)

    def _locate(self, batch: Batch) -> Batch:
        folder = locate(self._root, batch.output_folder)
        return dataclasses.replace(batch, output_folder=folder)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work, *arguments)
        except SQLAlchemyError as error:
            log.error("the database of batches does not answer", exc_info=error)
            raise Unavailable(
                "batches can't be read or written now", "BATCHES_UNAVAILABLE"
            ) from error
