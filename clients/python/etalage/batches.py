"""Batches: images for many products, as jobs on the server that outlive the connection.

with Client("127.0.0.1:50051") as client:
    batch = client.batches.submit([Item("wrench", user="u1"), "lamp"], output_folder="spring")
    print(client.batches.wait(batch.batch_id).num_succeeded)
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Generator, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from etalage.channels import DEFAULT_TIMEOUT_S, check_timeout
from etalage.errors import DeadlineExceeded, Unavailable, translate_errors
from etalage.requests import ImageOptions, Product, build_image_request
from etalage.v1 import batches_pb2 as pb
from etalage.v1 import images_pb2
from etalage.v1.batches_pb2_grpc import BatchServiceStub

if TYPE_CHECKING:
    from typing_extensions import Unpack

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_ENDED = ("succeeded", "failed", "cancelled")
_PAUSE_S = 1.0  # before a broken watch is taken up again
_PATIENCE_S = 300.0  # how long a server may be away meanwhile


class Item:
    """What to make for one product. Its `request_id` is its name in the batch; left out: its
    number."""

    def __init__(self, product: str | Product, **options: Unpack[ImageOptions]) -> None:
        self.product = product
        self.options = options


Wanted: TypeAlias = Item | Product | str | images_pb2.GenerateImageRequest


@dataclass(frozen=True)
class BatchFailure:
    """Why a request has no images; `code` is the name of the gRPC status."""

    request_id: str
    code: str
    reason: str
    message: str


@dataclass(frozen=True)
class Batch:
    """A job and how far it is.

    `state` is "pending", "running", "succeeded", "failed" or "cancelled"; `failures` are the first
    20. `output_folder` has the images, `manifest.parquet` and `failures.jsonl`.
    """

    batch_id: str
    state: str
    num_requests: int
    num_succeeded: int
    num_failed: int
    created: datetime
    updated: datetime
    ended: datetime | None
    output_folder: str
    images_per_second: float
    failures: tuple[BatchFailure, ...] = ()

    @property
    def is_ended(self) -> bool:
        return self.state in _ENDED

    @property
    def num_left(self) -> int:
        return self.num_requests - self.num_succeeded - self.num_failed


class Batches:
    """The calls, for threads. Each raises a subclass of EtalageError."""

    def __init__(self, channel: grpc.Channel, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """`timeout_s` is for each call but `watch` and `wait`."""
        self._stub = BatchServiceStub(channel)  # type: ignore[no-untyped-call]
        self._timeout_s = check_timeout(timeout_s)

    def submit(
        self,
        items: Iterable[Wanted],
        *,
        request_id: str = "",
        output_folder: str = "",
    ) -> Batch:
        """The batch, taken in. A repeat with the same `request_id`, made up where left out, is the
        same batch. Messages of the API are taken as they are."""
        request = build_batch_request(items, request_id, output_folder)
        with translate_errors(request.request_id):
            return read_batch(self._stub.GenerateBatch(request, timeout=self._timeout_s).batch)

    def get(self, batch_id: str) -> Batch:
        with translate_errors(""):
            request = pb.GetBatchRequest(batch_id=batch_id)
            return read_batch(self._stub.GetBatch(request, timeout=self._timeout_s).batch)

    def list(self, page_size: int = 100) -> Generator[Batch, None, None]:
        """All batches that the server remembers, the youngest first."""
        request = pb.ListBatchesRequest(page_size=page_size)
        while True:
            with translate_errors(""):
                page = self._stub.ListBatches(request, timeout=self._timeout_s)
            yield from map(read_batch, page.batches)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def cancel(self, batch_id: str) -> Batch:
        """What was made stays."""
        with translate_errors(""):
            request = pb.CancelBatchRequest(batch_id=batch_id)
            return read_batch(self._stub.CancelBatch(request, timeout=self._timeout_s).batch)

    def watch(self, batch_id: str, timeout_s: float | None = None) -> Generator[Batch, None, None]:
        """The batch as it is, and whenever it has come further, until it has ended: as long as that
        takes, or `timeout_s`. A server that starts anew meanwhile is waited for."""
        watch = _Watch(batch_id, timeout_s)
        while True:
            call = self._stub.WatchBatch(watch.request, timeout=watch.left_s())
            try:
                with translate_errors(""):
                    for reply in call:
                        if (batch := watch.read(reply)) is not None:
                            yield batch
                return
            except (Unavailable, DeadlineExceeded) as error:
                pause_s = watch.bear(error)
            finally:
                call.cancel()
            time.sleep(pause_s)

    def wait(self, batch_id: str, timeout_s: float | None = None) -> Batch:
        """The batch when it has ended, well or not."""
        *_, last = self.watch(batch_id, timeout_s)
        return last


class AsyncBatches:
    """The same calls, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """`timeout_s` is for each call but `watch` and `wait`."""
        self._stub: Any = BatchServiceStub(channel)  # type: ignore[no-untyped-call]
        self._timeout_s = check_timeout(timeout_s)

    async def submit(
        self,
        items: Iterable[Wanted],
        *,
        request_id: str = "",
        output_folder: str = "",
    ) -> Batch:
        """The batch, taken in. A repeat with the same `request_id`, made up where left out, is the
        same batch. Messages of the API are taken as they are."""
        request = build_batch_request(items, request_id, output_folder)
        with translate_errors(request.request_id):
            reply = await self._stub.GenerateBatch(request, timeout=self._timeout_s)
        return read_batch(reply.batch)

    async def get(self, batch_id: str) -> Batch:
        with translate_errors(""):
            request = pb.GetBatchRequest(batch_id=batch_id)
            return read_batch((await self._stub.GetBatch(request, timeout=self._timeout_s)).batch)

    async def list(self, page_size: int = 100) -> AsyncGenerator[Batch, None]:
        """All batches that the server remembers, the youngest first."""
        request = pb.ListBatchesRequest(page_size=page_size)
        while True:
            with translate_errors(""):
                page = await self._stub.ListBatches(request, timeout=self._timeout_s)
            for batch in page.batches:
                yield read_batch(batch)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def cancel(self, batch_id: str) -> Batch:
        """What was made stays."""
        with translate_errors(""):
            request = pb.CancelBatchRequest(batch_id=batch_id)
            reply = await self._stub.CancelBatch(request, timeout=self._timeout_s)
        return read_batch(reply.batch)

    async def watch(
        self, batch_id: str, timeout_s: float | None = None
    ) -> AsyncGenerator[Batch, None]:
        """The batch as it is, and whenever it has come further, until it has ended: as long as that
        takes, or `timeout_s`. A server that starts anew meanwhile is waited for."""
        watch = _Watch(batch_id, timeout_s)
        while True:
            call = self._stub.WatchBatch(watch.request, timeout=watch.left_s())
            try:
                with translate_errors(""):
                    async for reply in call:
                        if (batch := watch.read(reply)) is not None:
                            yield batch
                return
            except (Unavailable, DeadlineExceeded) as error:
                pause_s = watch.bear(error)
            finally:
                call.cancel()
            await asyncio.sleep(pause_s)

    async def wait(self, batch_id: str, timeout_s: float | None = None) -> Batch:
        """The batch when it has ended, well or not."""
        return [batch async for batch in self.watch(batch_id, timeout_s)][-1]


class _Watch:
    """What a watch remembers when its call breaks."""

    def __init__(self, batch_id: str, timeout_s: float | None) -> None:
        self.request = pb.WatchBatchRequest(batch_id=batch_id)
        now_s = time.monotonic()
        self._end_s = None if timeout_s is None else now_s + check_timeout(timeout_s)
        self._last_s = now_s
        self._told: Batch | None = None

    def left_s(self) -> float | None:
        return None if self._end_s is None else max(self._end_s - time.monotonic(), 0.001)

    def read(self, reply: pb.WatchBatchResponse) -> Batch | None:
        """None where a new call tells what the one before had told."""
        self._last_s = time.monotonic()
        batch, told = read_batch(reply.batch), self._told
        self._told = batch
        return None if told == batch else batch

    def bear(self, error: Unavailable | DeadlineExceeded) -> float:
        """Seconds until it is tried again; raises the error where there is no more patience."""
        now_s = time.monotonic()
        is_late = self._end_s is not None and now_s + _PAUSE_S >= self._end_s
        if is_late or now_s - self._last_s > _PATIENCE_S:
            raise error
        return error.retry_after_s or _PAUSE_S


def build_batch_request(
    items: Iterable[Wanted], request_id: str, output_folder: str
) -> pb.GenerateBatchRequest:
    """Raises InvalidArgument naming every value that no request can hold."""
    if isinstance(items, str):
        raise TypeError("items: expected several, got a single string")
    return pb.GenerateBatchRequest(
        request_id=request_id or uuid.uuid4().hex,
        requests=map(_build_image, items),
        output_folder=output_folder,
    )


def read_batch(reply: pb.Batch) -> Batch:
    return Batch(
        batch_id=reply.batch_id,
        state=pb.BatchState.Name(reply.state).removeprefix("BATCH_STATE_").lower(),
        num_requests=reply.num_requests,
        num_succeeded=reply.num_succeeded,
        num_failed=reply.num_failed,
        created=_time(reply.create_time),
        updated=_time(reply.update_time),
        ended=_time(reply.end_time) if reply.HasField("end_time") else None,
        output_folder=reply.output_folder,
        images_per_second=reply.images_per_second,
        failures=tuple(
            BatchFailure(each.request_id, _NAMES.get(each.code, ""), each.reason, each.message)
            for each in reply.failures
        ),
    )


def _build_image(item: Wanted) -> images_pb2.GenerateImageRequest:
    if isinstance(item, images_pb2.GenerateImageRequest):
        return item
    wanted = item if isinstance(item, Item) else Item(item)
    request = build_image_request(wanted.product, **wanted.options)
    if not wanted.options.get("request_id"):
        request.ClearField("request_id")  # the same content whenever it is submitted
    return request


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(timezone.utc)  # noqa: UP017 (Python 3.10 has no UTC)
