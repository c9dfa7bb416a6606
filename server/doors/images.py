"""ImageService: bytes to requests, through the pipeline, results to messages.

The methods take bytes rather than messages: too large, malformed and contradictory requests are
answered with details, which gRPC's own deserialization would not give.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from etalage.v1 import images_pb2 as pb
from server import logs
from server.access.calls import charge_images, name_apart
from server.cancellation import Cancellations
from server.configuration import ServerSlice
from server.core import MAX_SLATE, QUALITY, ImageRequest, ImageResult
from server.doors import wire
from server.doors.answers import Answers, Generator, Repeat, ResultObserver
from server.doors.messages import (
    answer_to_proto,
    progress_to_proto,
    request_from_proto,
    result_to_proto,
    slate_from_proto,
)
from server.doors.packshots import find_faults
from server.doors.status import code_of, is_expected, message_of, reason_of
from server.doors.updates import Updates
from server.doors.validation import (
    check_cancel,
    check_explain,
    check_image,
    check_slate,
    check_stream,
)
from server.errors import DeadlineExceeded, InvalidRequest, Violation

SERVICE: str = pb.DESCRIPTOR.services_by_name["ImageService"].full_name
METHODS = tuple(
    f"{SERVICE}/{method.name}" for method in pb.DESCRIPTOR.services_by_name["ImageService"].methods
)
CANCEL = f"{SERVICE}/CancelImage"

DEFAULT_MAP_SIDE = 256
LAST_WORD_S = 0.03
"""Before the deadline of a slate, in which what is still open is told to be too late."""

_NUM_WORKERS = 2  # threads for packshots, which take long to decode and to digest

Context = grpc.aio.ServicerContext[Any, Any]
log = logs.logger(__name__)


class ImageService:
    """Answers once `attach` has given it a pipeline; the gate keeps requests out before."""

    def __init__(
        self,
        settings: ServerSlice,
        observer: ResultObserver,
        models: Collection[str] = (QUALITY,),
    ) -> None:
        self._max_bytes = settings.max_message_bytes
        self._models = models
        self._brand_kits: Collection[str] = ()
        self._pipeline: Generator | None = None
        self._cancellations = Cancellations(settings.tombstone_s)
        self._workers = ThreadPoolExecutor(_NUM_WORKERS, thread_name_prefix="door")
        self._answers = Answers(settings, observer, self._workers)

    def attach(
        self,
        pipeline: Generator,
        models: Collection[str] | None = None,
        brand_kits: Collection[str] = (),
    ) -> None:
        """`models` and `brand_kits` are the names that requests may ask for; models, where they are
        others than before, may be a view of what changes."""
        self._answers.attach(pipeline)
        self._pipeline, self._brand_kits = pipeline, brand_kits
        if models is not None:
            self._models = models

    @property
    def answers(self) -> Answers:
        return self._answers

    def close(self) -> None:
        self._workers.shutdown(wait=False, cancel_futures=True)

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All methods, to be added to a server."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "GenerateImage": grpc.unary_unary_rpc_method_handler(
                    self.generate_image,
                    response_serializer=pb.GenerateImageResponse.SerializeToString,
                ),
                "StreamImage": grpc.unary_stream_rpc_method_handler(
                    self.stream_image,
                    response_serializer=pb.StreamImageResponse.SerializeToString,
                ),
                "GenerateSlate": grpc.unary_stream_rpc_method_handler(
                    self.generate_slate,
                    response_serializer=pb.GenerateSlateResponse.SerializeToString,
                ),
                "ExplainImage": grpc.unary_unary_rpc_method_handler(
                    self.explain_image,
                    response_serializer=pb.ExplainImageResponse.SerializeToString,
                ),
                "CancelImage": grpc.unary_unary_rpc_method_handler(
                    self.cancel_image,
                    response_serializer=pb.CancelImageResponse.SerializeToString,
                ),
            },
        )

    async def generate_image(self, data: bytes, context: Context) -> pb.GenerateImageResponse:
        image = wire.parse(pb.GenerateImageRequest, data, self._max_bytes)
        _bind(image.request_id, image.user_id)
        violations = check_image(image, models=self._models, brand_kits=self._brand_kits)
        await self._check_image(image, violations, wire.has_both_products(data))
        request = request_from_proto(image, deadline_s=_deadline_s(context))
        charge_images(request.num_images)
        repeat = await self._answers.recognize("image", image.request_id, image)
        with self._cancellations.running(_name(image.request_id)) as run:
            result = await run.start(self._answers.answer(request, repeat))
        return result_to_proto(result, image.request_id)

    async def stream_image(
        self, data: bytes, context: Context
    ) -> AsyncIterator[pb.StreamImageResponse]:
        message = wire.parse(pb.StreamImageRequest, data, self._max_bytes)
        image = message.image
        _bind(image.request_id, image.user_id)
        has_both = wire.has_both_products_inside(data, pb.StreamImageRequest.IMAGE_FIELD_NUMBER)
        await self._check_image(
            image, check_stream(message, self._models, self._brand_kits), has_both, "image."
        )
        request = request_from_proto(
            image,
            deadline_s=_deadline_s(context),
            preview_side=message.preview_side,
        )
        charge_images(request.num_images)
        repeat = await self._answers.recognize("image", image.request_id, image)
        updates = Updates()
        with self._cancellations.running(_name(image.request_id)) as run:
            answering = run.start(self._answers.answer(request, repeat, on_event=updates.tell))
            answering.add_done_callback(updates.wake)
            try:
                async for update in _follow(updates, answering):
                    yield update
                yield pb.StreamImageResponse(
                    result=result_to_proto(answering.result(), image.request_id)
                )
            finally:
                await _cancel(run.tasks)

    async def generate_slate(
        self, data: bytes, context: Context
    ) -> AsyncIterator[pb.GenerateSlateResponse]:
        slate = wire.parse(pb.GenerateSlateRequest, data, self._max_bytes)
        _bind(slate.request_id, slate.template.user_id)
        _refuse(check_slate(slate, self._models, self._brand_kits))
        charge_images(len(slate.product_ids))
        repeat = await self._answers.recognize("slate", slate.request_id, slate)
        deadline_s = _deadline_s(context)
        requests = slate_from_proto(slate, deadline_s=deadline_s)
        with self._cancellations.running(_name(slate.request_id)) as run:
            # All at once: their features are read together, and the engine decides who goes first.
            # Each takes its model before it waits for anything: one revision answers them all.
            for rank, request in enumerate(requests):
                run.start(self._fill_slot(rank, request, repeat))
            told = set()
            try:
                last_s = None if deadline_s is None else deadline_s - time.monotonic() - LAST_WORD_S
                for ready in asyncio.as_completed(run.tasks, timeout=last_s):
                    slot: pb.GenerateSlateResponse = await ready
                    told.add(slot.rank)
                    yield slot
            except TimeoutError:  # the others shall not be lost with those that are too late
                for rank, task in enumerate(run.tasks):
                    if rank not in told:
                        late = _tell_late(rank, slate.product_ids[rank])
                        yield task.result() if task.done() else late
            finally:
                await _cancel(run.tasks)

    async def explain_image(self, data: bytes, context: Context) -> pb.ExplainImageResponse:
        message = wire.parse(pb.ExplainImageRequest, data, self._max_bytes)
        image = message.image
        _bind(image.request_id, image.user_id)
        has_both = wire.has_both_products_inside(data, pb.ExplainImageRequest.IMAGE_FIELD_NUMBER)
        violations = check_explain(message, self._models, self._brand_kits)
        await self._check_image(image, violations, has_both, "image.")
        request = request_from_proto(image, deadline_s=_deadline_s(context))
        charge_images(1)
        side = message.map_side if message.HasField("map_side") else DEFAULT_MAP_SIDE
        assert self._pipeline is not None  # the gate is shut until there is one
        with self._cancellations.running(_name(image.request_id)) as run:
            answer = await run.start(self._pipeline.explain(request, side))
        return answer_to_proto(answer)

    async def cancel_image(self, data: bytes, context: Context) -> pb.CancelImageResponse:
        message = wire.parse(pb.CancelImageRequest, data, self._max_bytes)
        request_id = message.request_id
        _bind(request_id, "")
        _refuse(check_cancel(message))

        def is_answered() -> bool:
            knows = self._answers.knows
            return knows("image", request_id) or knows("slate", request_id, MAX_SLATE)

        outcome = self._cancellations.cancel(_name(request_id), is_answered)
        log.info("cancelled", count=outcome.num_cancelled, remembered=outcome.is_remembered)
        return pb.CancelImageResponse(
            num_cancelled=outcome.num_cancelled, is_remembered=outcome.is_remembered
        )

    async def _fill_slot(
        self, rank: int, request: ImageRequest, repeat: Repeat | None
    ) -> pb.GenerateSlateResponse:
        product_id = str(request.product)
        try:
            result = await self._answers.answer(request, repeat, rank)
            told = result_to_proto(result, request.request_id)
            return pb.GenerateSlateResponse(rank=rank, product_id=product_id, result=told)
        except Exception as error:  # the last line of defence: the other products go on
            if not is_expected(error):
                log.error("failed", rank=rank, exc_info=error)
            return _tell_error(rank, product_id, error)

    async def _check_image(
        self,
        image: pb.GenerateImageRequest,
        violations: Iterable[Violation],
        has_both_products: bool,
        at: str = "",
    ) -> None:
        found = list(violations)
        if has_both_products:
            text = "has both forms; exactly one of product_id and inline_product is required"
            found.append(Violation(f"{at}product", text))
        inline = image.inline_product
        pictures = inline.packshot, inline.control_map, inline.mask
        if any(pictures):
            loop = asyncio.get_running_loop()
            faults = await loop.run_in_executor(self._workers, find_faults, *pictures)
            found += [Violation(f"{at}inline_product.{f}", text) for f, text in faults.items()]
        _refuse(found)


async def _follow(
    updates: Updates, answering: asyncio.Task[ImageResult]
) -> AsyncIterator[pb.StreamImageResponse]:
    """Accepted once, then the latest progress, until the answer is there. Raises its error."""
    is_told = False
    while not (answering.done() and is_told):
        await updates.wait()
        if answering.done():
            answering.result()
        if not is_told and (updates.is_accepted or answering.done()):
            is_told = True
            yield pb.StreamImageResponse(accepted=pb.Accepted(request_id=logs.current_request_id()))
        if (progress := updates.take()) is not None:
            yield pb.StreamImageResponse(progress=progress_to_proto(progress))


def _tell_late(rank: int, product_id: str) -> pb.GenerateSlateResponse:
    return _tell_error(
        rank, product_id, DeadlineExceeded("not even the packshot was ready in time")
    )


def _tell_error(rank: int, product_id: str, error: Exception) -> pb.GenerateSlateResponse:
    slot = pb.GenerateSlateResponse(rank=rank, product_id=product_id)
    slot.error.code = code_of(error).value[0]
    slot.error.reason = reason_of(error)
    slot.error.message = message_of(error)
    return slot


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel those that still run, and wait until they have let go of what they held."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _bind(request_id: str, user_id: str) -> None:
    is_good = 0 < len(request_id) <= 128 and request_id.isprintable()
    logs.bind_request(request_id if is_good else logs.current_request_id(), user_id)


def _name(request_id: str) -> str:
    """By what a call can be cancelled: its own id, or the one that the server told."""
    return name_apart(request_id or logs.current_request_id())


def _refuse(violations: Iterable[Violation]) -> None:
    found = tuple(violations)
    if found:
        raise InvalidRequest(*found)


def _deadline_s(context: Context) -> float | None:
    remaining_s: float | None = context.time_remaining()
    return None if remaining_s is None else time.monotonic() + remaining_s
