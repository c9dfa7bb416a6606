"""Batches of a few requests, a clock that a test sets, and a crash without a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from etalage.v1 import batches_pb2 as pb
from etalage.v1 import images_pb2
from server.batches.batch import Submission
from server.batches.jobs import Jobs
from server.batches.room import Background
from server.batches.tables import open_database
from server.batches.worker import Workplace
from server.doors.batches import open_task, submission_from_proto
from server.doors.request_file import explain


class Clock:
    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def ask(*products: str, **fields: Any) -> images_pb2.GenerateImageRequest:
    (product,) = products
    return images_pb2.GenerateImageRequest(product_id=product, **fields)


def submission(batch_id: str, *products: str, folder: str = "", **fields: Any) -> Submission:
    return submission_from_proto(batch(batch_id, *products, folder=folder, **fields))


def batch(
    batch_id: str, *products: str, folder: str = "", **fields: Any
) -> pb.GenerateBatchRequest:
    requests = [ask(product, **fields) for product in products]
    return pb.GenerateBatchRequest(request_id=batch_id, requests=requests, output_folder=folder)


def database_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'batches.db'}"


@asynccontextmanager
async def working(
    folder: Path,
    pipeline: Any,
    max_rows: int = 4,
    count_rows: Callable[[], int] = lambda: 0,
    is_healthy: Callable[[], bool] = lambda: True,
    root: str = "",
) -> AsyncIterator[Jobs]:
    """A process's part in the batches of the folder, from its start to its orderly end."""
    background = Background(pipeline, max_rows, count_rows)
    workplace = Workplace(
        background, open_task, explain, root or str(folder / "out"), max_rows, is_healthy
    )
    jobs = Jobs(open_database(database_in(folder)), workplace, max_batches=100, keep_s=3600)
    jobs.start()
    try:
        yield jobs
    finally:
        await jobs.close()


async def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    give_up_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_s
        await asyncio.sleep(0.005)


async def until_closed(jobs: Jobs, batch_id: str) -> Any:
    """The batch when it has ended and its files are there."""
    async with asyncio.timeout(20):
        told = [batch async for batch in jobs.watch(batch_id)]
    assert told[-1].is_closed
    return told[-1]


def manifest(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "manifest.parquet").to_pylist()
    return rows
