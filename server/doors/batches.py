"""BatchService: many requests at once, as a job that outlives the connection."""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import hashlib
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from etalage.v1 import batches_pb2 as pb
from etalage.v1 import images_pb2
from server.access.calls import charge_images, current_tenant, name_apart, own_prefix
from server.batches.batch import Batch, BatchState, Request, Submission
from server.batches.jobs import Jobs
from server.bulk.record import Record
from server.core import QUALITY
from server.doors import wire
from server.doors.batch_checks import check_batch, name_requests
from server.doors.fields import check_text
from server.doors.request_file import RequestRow
from server.doors.validation import MAX_REQUEST_ID
from server.errors import BatchNotFound, InvalidRequest, Violation

SERVICE: str = pb.DESCRIPTOR.services_by_name["BatchService"].full_name
METHODS = tuple(
    f"{SERVICE}/{method.name}" for method in pb.DESCRIPTOR.services_by_name["BatchService"].methods
)
DEFAULT_PAGE, MAX_PAGE = 50, 1000

_NUM_WORKERS = 2  # threads for submissions, which take long to look through
_SMALL_BYTES = 64 * 1024
_TOKEN = "batches before "
_STATES: dict[BatchState, Any] = {
    state: pb.BatchState.Value(f"BATCH_STATE_{state.name}") for state in BatchState
}

Context = grpc.aio.ServicerContext[Any, Any]


class BatchService:
    """Answers once `attach` has given it jobs; the gate keeps requests out before."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_bytes = max_message_bytes
        self._jobs: Jobs | None = None
        self._models: Collection[str] = (QUALITY,)
        self._brand_kits: Collection[str] = ()
        self._name_shopper: Callable[[str], str] = lambda _: ""
        self._workers = ThreadPoolExecutor(_NUM_WORKERS, thread_name_prefix="batch-door")

    def attach(
        self, jobs: Jobs, models: Collection[str] = (QUALITY,), brand_kits: Collection[str] = ()
    ) -> None:
        """`models` and `brand_kits` are the names that requests may ask for."""
        self._jobs, self._models, self._brand_kits = jobs, models, brand_kits

    def name_shoppers(self, name: Callable[[str], str]) -> None:
        """Note whose requests are, by this name, so that they are found once they are erased."""
        self._name_shopper = name

    def dismiss(self) -> None:
        """Sends away those who watch: the server stops."""
        if self._jobs is not None:
            self._jobs.dismiss()

    def close(self) -> None:
        self._workers.shutdown(wait=False, cancel_futures=True)

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All methods, to be added to a server."""
        methods: dict[str, tuple[Any, Any]] = {
            "GenerateBatch": (self.generate_batch, pb.GenerateBatchResponse),
            "GetBatch": (self.get_batch, pb.GetBatchResponse),
            "ListBatches": (self.list_batches, pb.ListBatchesResponse),
            "CancelBatch": (self.cancel_batch, pb.CancelBatchResponse),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                answer, response_serializer=kind.SerializeToString
            )
            for name, (answer, kind) in methods.items()
        }
        handlers["WatchBatch"] = grpc.unary_stream_rpc_method_handler(
            self.watch_batch, response_serializer=pb.WatchBatchResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def generate_batch(self, data: bytes, context: Context) -> pb.GenerateBatchResponse:
        loop, is_gone = asyncio.get_running_loop(), threading.Event()
        try:
            submission, num_images = await loop.run_in_executor(
                self._workers, self._read, data, is_gone
            )
        finally:
            is_gone.set()
        charge_images(num_images, is_held=False)
        batch, was_known = await self._registry.submit(_keep_apart(submission))
        return pb.GenerateBatchResponse(batch=batch_to_proto(batch), was_known=was_known)

    async def get_batch(self, data: bytes, context: Context) -> pb.GetBatchResponse:
        request = wire.parse(pb.GetBatchRequest, data, _SMALL_BYTES)
        _refuse(_check_id(request.batch_id))
        with _naming(request.batch_id) as own_id:
            batch = await self._registry.get(own_id)
        return pb.GetBatchResponse(batch=batch_to_proto(batch))

    async def list_batches(self, data: bytes, context: Context) -> pb.ListBatchesResponse:
        request = wire.parse(pb.ListBatchesRequest, data, _SMALL_BYTES)
        _refuse(_check_page(request))
        num = request.page_size or DEFAULT_PAGE
        before = read_token(request.page_token)
        page, following = await self._registry.list_page(num, before, own_prefix())
        return pb.ListBatchesResponse(
            batches=map(batch_to_proto, page), next_page_token=write_token(following)
        )

    async def cancel_batch(self, data: bytes, context: Context) -> pb.CancelBatchResponse:
        request = wire.parse(pb.CancelBatchRequest, data, _SMALL_BYTES)
        _refuse(_check_id(request.batch_id))
        with _naming(request.batch_id) as own_id:
            batch = await self._registry.cancel(own_id)
        return pb.CancelBatchResponse(batch=batch_to_proto(batch))

    async def watch_batch(
        self, data: bytes, context: Context
    ) -> AsyncIterator[pb.WatchBatchResponse]:
        request = wire.parse(pb.WatchBatchRequest, data, _SMALL_BYTES)
        _refuse(_check_id(request.batch_id))
        with _naming(request.batch_id) as own_id:
            async with aclosing(self._registry.watch(own_id)) as news:
                async for batch in news:
                    yield pb.WatchBatchResponse(batch=batch_to_proto(batch))

    @property
    def _registry(self) -> Jobs:
        assert self._jobs is not None  # the gate is shut until there are any
        return self._jobs

    def _read(self, data: bytes, is_gone: threading.Event) -> tuple[Submission, int]:
        """And how many images it asks for. In a thread: there may be 10,000 requests, and pictures
        among them."""
        message = wire.parse(pb.GenerateBatchRequest, data, self._max_bytes)
        _refuse(check_batch(message, data, self._models, self._brand_kits, is_gone.is_set))
        num_images = sum(image.num_images or 1 for image in message.requests)
        return submission_from_proto(message, self._name_shopper), num_images


def submission_from_proto(
    message: pb.GenerateBatchRequest, name_shopper: Callable[[str], str] = lambda _: ""
) -> Submission:
    """Requests are stored as messages that say what they left open: their name, the day that they
    mean, and that no earlier image answers them, since which one it would be is chance."""
    digest = hashlib.blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest()
    batch_id = message.request_id or uuid.uuid4().hex
    requests = []
    for number, name in enumerate(name_requests(message), 1):
        image = message.requests[number - 1]
        image.request_id = name
        if not image.cache_policy:
            image.cache_policy = images_pb2.CACHE_POLICY_BYPASS
        if image.localization.occasion and not image.localization.HasField("time"):
            image.localization.time.GetCurrentTime()
        shopper = name_shopper(image.user_id) if image.user_id else ""
        content = image.SerializeToString(deterministic=True)
        requests.append(Request(number, name, content, shopper))
    return Submission(batch_id, digest, message.output_folder or batch_id, tuple(requests))


def _keep_apart(submission: Submission) -> Submission:
    """By an id and in a folder of the tenant's own. Raises InvalidRequest."""
    if not (tenant := current_tenant()):
        return submission
    own_id = name_apart(submission.batch_id)
    _refuse(check_text(own_id, MAX_REQUEST_ID, "request_id"))
    folder = f"{tenant}/{submission.output_folder}"
    return dataclasses.replace(submission, batch_id=own_id, output_folder=folder)


@contextmanager
def _naming(batch_id: str) -> Iterator[str]:
    """The id as no other tenant can say it; where it is of no batch, the id as it was asked for."""
    try:
        yield name_apart(batch_id)
    except BatchNotFound:
        raise BatchNotFound(batch_id) from None


def open_task(request: Request) -> RequestRow:
    """A request of a batch as a task of a bulk run."""
    digest = hashlib.blake2b(request.content, digest_size=16).hexdigest()
    return RequestRow(request.name, request.number, digest, request.content, (), "", "", "")


def batch_to_proto(batch: Batch) -> pb.Batch:
    message = pb.Batch(
        batch_id=batch.batch_id.removeprefix(own_prefix()),
        state=_STATES[batch.state],
        num_requests=batch.num_requests,
        num_succeeded=batch.num_succeeded,
        num_failed=batch.num_failed,
        create_time=_time(batch.create_s),
        update_time=_time(batch.update_s),
        output_folder=batch.output_folder,
        images_per_second=batch.images_per_second,
        failures=map(_failure, batch.failures),
    )
    if batch.end_s is not None:
        message.end_time.CopyFrom(_time(batch.end_s))
    return message


def write_token(key: int | None) -> str:
    return "" if key is None else base64.urlsafe_b64encode(f"{_TOKEN}{key}".encode()).decode()


def read_token(token: str) -> int | None:
    """None for the first page. Raises ValueError where it is none of ours."""
    if not token:
        return None
    text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    if not text.startswith(_TOKEN):
        raise ValueError(token)
    return int(text.removeprefix(_TOKEN))


def _failure(record: Record) -> pb.BatchFailure:
    failure = record.failure
    assert failure is not None
    return pb.BatchFailure(
        request_id=record.name,
        code=grpc.StatusCode[failure.code].value[0],
        reason=failure.reason,
        message=failure.message,
    )


def _time(seconds: float) -> Timestamp:
    time = Timestamp()
    time.FromNanoseconds(round(seconds * 1e9))
    return time


def _check_id(batch_id: str) -> Iterator[Violation]:
    if not batch_id:
        yield Violation("batch_id", "is empty; it says which batch")
    yield from check_text(batch_id, MAX_REQUEST_ID, "batch_id")


def _check_page(request: pb.ListBatchesRequest) -> Iterator[Violation]:
    if request.page_size > MAX_PAGE:
        yield Violation("page_size", f"is {request.page_size}; must be from 1 to {MAX_PAGE}")
    try:
        read_token(request.page_token)
    except (ValueError, binascii.Error):
        yield Violation("page_token", "is no next_page_token of this server")


def _refuse(violations: Iterable[Violation]) -> None:
    if found := tuple(violations):
        raise InvalidRequest(*found)
