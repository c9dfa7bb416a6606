"""Works on batches, one after the other in the order in which they came, as bulk runs do.

What was made lies in the output folder before it is recorded, and only what is recorded counts:
after a crash the rest is made again, into the same files.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from server import logs
from server.batches.batch import BatchState, Claim, Request
from server.batches.claims import Claims
from server.bulk.journal import FOLDER
from server.bulk.manifest import write_outcome
from server.bulk.record import IMAGES, Record, Task
from server.bulk.runner import Explain, Generator, Runner
from server.bulk.shard import Shard
from server.bulk.store import Store

_IDLE_S = 5.0  # pause between two looks for work that other processes left
_TROUBLE_S = 10.0  # pause where a disk is full or a database is away
_JOURNAL = f"{FOLDER}/batch.jsonl"

log = logs.logger(__name__)


class BatchObserver(Protocol):
    """Called from any thread."""

    def batch_requests(self, outcome: str, count: int) -> None:
        """Requests of batches that were answered: "succeeded" or "failed"."""

    def batch_images(self, count: int) -> None: ...


class Silence:
    """An observer that looks away."""

    def batch_requests(self, outcome: str, count: int) -> None: ...

    def batch_images(self, count: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Workplace:
    """What work on batches takes. `open_task` reads what the door wrote; `root` is the folder of
    all output folders, a path or an fsspec URL."""

    pipeline: Generator
    open_task: Callable[[Request], Task]
    explain: Explain
    root: str
    num_in_flight: int = 8
    is_healthy: Callable[[], bool] = lambda: True
    observer: BatchObserver = Silence()


class Worker:
    """`tell` is called, in the event loop, with the id of a batch that has come further."""

    def __init__(
        self, claims: Claims, workplace: Workplace, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._claims, self._place, self._tell = claims, workplace, tell
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """There is work, or some was cancelled."""
        self._nudged.set()

    async def run(self) -> None:
        """Until it is cancelled; then what is under way is freed and its batch is left to the next
        process."""
        while True:
            try:
                claim = None
                if self._place.is_healthy():
                    claim = await asyncio.to_thread(self._claims.claim)
                if claim is None:
                    await self._wait(min(_IDLE_S, self._claims.lease_s))
                else:
                    await self._hold(claim)
            except Exception as error:  # a full disk, a database that is away: later, then
                log.error("batches pause", seconds=_TROUBLE_S, exc_info=error)
                await asyncio.sleep(_TROUBLE_S)

    async def _hold(self, claim: Claim) -> None:
        log.info("batch goes on", batch=claim.batch_id)
        try:
            await self._work(claim)
        finally:
            await asyncio.shield(asyncio.to_thread(self._claims.release, claim))

    async def _work(self, claim: Claim) -> None:
        store = Store(locate(self._place.root, claim.output_folder))
        making = asyncio.create_task(self._make(claim, store))
        making.add_done_callback(lambda _: self.nudge())
        try:
            state = await self._watch_over(claim, making)
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
        if state is None:
            log.warning("batch is worked on elsewhere", batch=claim.batch_id)
            return
        await asyncio.to_thread(self._write_files, claim, store)
        await asyncio.to_thread(self._claims.finish, claim)
        log.info("batch has ended", batch=claim.batch_id)
        self._tell(claim.batch_id)

    async def _watch_over(self, claim: Claim, making: asyncio.Task[None]) -> BatchState | None:
        """Holds the lease until all is made, or the batch was cancelled or taken over."""
        while True:
            state = await asyncio.to_thread(self._claims.renew, claim)
            if state is not BatchState.RUNNING:
                return state
            if making.done():
                making.result()
                return state
            await self._wait(self._claims.lease_s / 3)

    async def _make(self, claim: Claim, store: Store) -> None:
        """Raises StoreFailed, EngineBroken, sqlalchemy.exc.SQLAlchemyError."""
        place, loop = self._place, asyncio.get_running_loop()

        def keep(records: Sequence[Record]) -> None:
            self._claims.record(claim, records)
            loop.call_soon_threadsafe(self._tell, claim.batch_id)
            _count(place.observer, records)

        await asyncio.to_thread(store.make_folders, "", IMAGES, FOLDER)
        runner = Runner(
            place.pipeline,
            store,
            place.explain,
            num_in_flight=place.num_in_flight,
            patience_s=math.inf,
            outage_s=math.inf,  # a batch can't be started again
            is_healthy=place.is_healthy,
        )
        await runner.run(self._list_tasks(claim), keep)

    def _list_tasks(self, claim: Claim) -> Iterator[Task]:
        number = 0
        while page := self._claims.pending(claim, number):
            yield from map(self._place.open_task, page)
            number = page[-1].number

    def _write_files(self, claim: Claim, store: Store) -> None:
        """As a bulk run leaves them; the journal here is a copy of what the database has."""
        lines = [record.to_line() for record in self._claims.records(claim)]
        store.make_folders("", FOLDER)
        store.write(_JOURNAL, b"".join(lines))
        write_outcome(store, Shard())

    async def _wait(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._nudged.wait()
        self._nudged.clear()


def locate(root: str, folder: str) -> str:
    return f"{root.rstrip('/')}/{folder}"


def _count(observer: BatchObserver, records: Sequence[Record]) -> None:
    num_succeeded = sum(record.is_finished for record in records)
    observer.batch_requests("succeeded", num_succeeded)
    observer.batch_requests("failed", len(records) - num_succeeded)
    observer.batch_images(sum(len(record.images) for record in records))
