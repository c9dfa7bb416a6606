"""What works on batches beside a server's requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from server.batches.jobs import Jobs
from server.batches.room import Background, Generator
from server.batches.tables import open_database
from server.batches.worker import BatchObserver, Workplace
from server.bulk.store import Store, StoreFailed
from server.configuration import Configuration
from server.doors.batches import open_task
from server.doors.request_file import explain


@asynccontextmanager
async def open_batches(
    configuration: Configuration,
    pipeline: Generator,
    count_rows: Callable[[], int],
    is_healthy: Callable[[], bool],
    observer: BatchObserver,
) -> AsyncIterator[Jobs]:
    """Goes on with what an earlier process left. Raises OSError where the database can't be had, or
    no image could be written."""
    settings, home = configuration.batches, configuration.features.home.absolute()
    root = settings.folder or str(home / "batches")
    workplace = Workplace(
        Background(pipeline, settings.max_rows, count_rows),
        open_task,
        explain,
        root,
        num_in_flight=settings.max_rows,
        is_healthy=is_healthy,
        observer=observer,
    )
    here = URL.create("sqlite", database=str(home / "batches.db"))
    try:
        Store(root)
        database = await asyncio.to_thread(open_database, settings.database or here)
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise OSError(f"batches.database can't be opened: {error}") from error
    except StoreFailed as error:
        raise OSError(f"batches.folder can't be had: {error}") from error
    limits = settings.max_waiting, settings.keep_s, settings.lease_s
    jobs = Jobs(database, workplace, *limits)
    jobs.start()
    try:
        yield jobs
    finally:
        await jobs.close()
