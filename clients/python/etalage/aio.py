"""The client for asyncio: `etalage.client` again, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from etalage.batches import AsyncBatches
from etalage.channels import (
    DEFAULT_SERVER,
    DEFAULT_TIMEOUT_S,
    ConnectionOptions,
    check_timeout,
    resolve_endpoint,
)
from etalage.enhancement import (
    Enhanced,
    EnhanceOptions,
    build_enhance_request,
    read_enhanced,
)
from etalage.errors import translate_errors
from etalage.experiments import (
    Experiment,
    ExperimentReport,
    Recorded,
    ShopEvent,
    add_up,
    build_record_request,
    read_experiments,
    read_recorded,
    read_report,
    split_events,
)
from etalage.health import health_check, read_refusal
from etalage.privacy import (
    ErasureProof,
    build_consent_request,
    build_erase_request,
    read_proof,
    read_time,
)
from etalage.provenance import Verified, build_verify_request, read_verified
from etalage.replies import read_answer, read_cancellation, read_event, read_result, read_slate_item
from etalage.requests import (
    ImageOptions,
    Product,
    build_cancel_request,
    build_explain_request,
    build_image_request,
    build_slate_request,
    build_stream_request,
)
from etalage.results import Answer, Cancellation, Event, Result, SlateItem
from etalage.v1.enhancement_pb2_grpc import EnhancementServiceStub
from etalage.v1.experiments_pb2 import GetExperimentReportRequest, ListExperimentsRequest
from etalage.v1.experiments_pb2_grpc import ExperimentServiceStub
from etalage.v1.images_pb2_grpc import ImageServiceStub
from etalage.v1.privacy_pb2 import ExportUserRequest
from etalage.v1.privacy_pb2_grpc import PrivacyServiceStub
from etalage.v1.provenance_pb2_grpc import ProvenanceServiceStub

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")


class AsyncClient:
    """Asks an Etalage server for images from one event loop; the same calls as `Client`.

    async with AsyncClient("127.0.0.1:50051") as client:
        result = await client.generate("wrench", user="u1", strength=0.7)

    Cancelling the awaiting task ends the call and frees its rows on the server.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        **connection: Unpack[ConnectionOptions],
    ) -> None:
        self._timeout_s = check_timeout(timeout_s)
        self._endpoint = resolve_endpoint(server, **connection)
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and every call that still uses it."""
        if self._channel is not None:
            await self._channel.close(grace=None)

    async def generate(
        self,
        product: str | Product,
        *,
        timeout_s: float | None = None,
        **options: Unpack[ImageOptions],
    ) -> Result:
        """Makes the images of one product, given by its id or whole, for one shopper.

        Raises a subclass of EtalageError.
        """
        request = build_image_request(product, **options)
        timeout = self._timeout(timeout_s)
        with translate_errors(request.request_id):
            return read_result(await self._stub.GenerateImage(request, timeout=timeout))

    def stream(
        self,
        product: str | Product,
        *,
        preview_side: int = 0,
        timeout_s: float | None = None,
        **options: Unpack[ImageOptions],
    ) -> AsyncGenerator[Event, None]:
        """Yields Accepted, then Progress, then the Result. Closing the iterator ends the sampling.

        Progress carries a preview of at most `preview_side` pixels where that is not 0.
        """
        request = build_stream_request(product, preview_side, **options)
        timeout = self._timeout(timeout_s)
        return self._iterate(
            lambda: self._stub.StreamImage(request, timeout=timeout),
            request.image.request_id,
            read_event,
        )

    def slate(
        self,
        products: Sequence[str],
        *,
        timeout_s: float | None = None,
        **options: Unpack[ImageOptions],
    ) -> AsyncGenerator[SlateItem, None]:
        """Yields one image for each of the ranked products, each as soon as it is ready."""
        request = build_slate_request(products, **options)
        timeout = self._timeout(timeout_s)
        return self._iterate(
            lambda: self._stub.GenerateSlate(request, timeout=timeout),
            request.request_id,
            read_slate_item,
        )

    async def explain(
        self,
        product: str | Product,
        *,
        map_side: int | None = None,
        timeout_s: float | None = None,
        **options: Unpack[ImageOptions],
    ) -> Answer:
        """Says which inputs moved the image that `generate` makes of the same options.

        The map of where the shopper acted has `map_side` pixels, 256 by default, 0 for none.
        """
        request = build_explain_request(product, map_side, **options)
        timeout = self._timeout(timeout_s)
        with translate_errors(request.image.request_id):
            return read_answer(await self._stub.ExplainImage(request, timeout=timeout))

    async def enhance(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        timeout_s: float | None = None,
        **options: Unpack[EnhanceOptions],
    ) -> Enhanced:
        """Says what is wrong with a packshot, and repairs it.

        A text is a product's id; a path or bytes are a picture.
        """
        request = build_enhance_request(source, **options)
        timeout = self._timeout(timeout_s)
        with translate_errors(request.request_id):
            stub: Any = EnhancementServiceStub(self._opened_channel())  # type: ignore[no-untyped-call]
            return read_enhanced(await stub.EnhanceImage(request, timeout=timeout))

    async def verify(
        self, image: str | os.PathLike[str] | bytes, *, timeout_s: float | None = None
    ) -> Verified:
        request = build_verify_request(image)
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            stub: Any = ProvenanceServiceStub(self._opened_channel())  # type: ignore[no-untyped-call]
            return read_verified(await stub.VerifyImage(request, timeout=timeout))

    async def record(
        self, events: Iterable[ShopEvent], *, timeout_s: float | None = None
    ) -> Recorded:
        """Tells what shoppers saw and did. What is not rejected is on disk when this returns, and
        the same events again are harmless.
        """
        timeout, parts = self._timeout(timeout_s), []
        for piece in split_events(events):
            with translate_errors(""):
                request = build_record_request(piece)
                answer = await self._experiments.RecordEvents(request, timeout=timeout)
            parts.append(read_recorded(piece, answer))
        return add_up(parts)

    async def experiments(self, *, timeout_s: float | None = None) -> tuple[Experiment, ...]:
        """The tests of the server, in the order of its file."""
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            return read_experiments(
                await self._experiments.ListExperiments(ListExperimentsRequest(), timeout=timeout)
            )

    async def report(
        self, experiment: str, *, html: bool = False, timeout_s: float | None = None
    ) -> ExperimentReport:
        """What an experiment came to by now; takes seconds where there are many events."""
        request = GetExperimentReportRequest(experiment=experiment, html=html)
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            return read_report(
                await self._experiments.GetExperimentReport(request, timeout=timeout)
            )

    async def erase(
        self,
        user: str,
        *,
        permanent: bool = False,
        wait: bool = True,
        timeout_s: float | None = None,
    ) -> ErasureProof:
        """Erases all that is held of a shopper, and keeps it from coming back; what happens from
        then on may be held again, unless `permanent`. With `wait`, files are written anew as well.

        Again is harmless. A store that is down is named in the proof, and asked again later.
        """
        request = build_erase_request(user, permanent, wait)
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            return read_proof(await self._privacy.EraseUser(request, timeout=timeout))

    async def export_user(self, user: str, *, timeout_s: float | None = None) -> bytes:
        """All that is held of a shopper, as JSON."""
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            answer = await self._privacy.ExportUser(
                ExportUserRequest(user_id=user), timeout=timeout
            )
            return bytes(answer.json)

    async def set_consent(
        self, user: str, given: bool, *, timeout_s: float | None = None
    ) -> datetime:
        """Gives or withdraws a shopper's consent; since when it is in force."""
        request = build_consent_request(user, given)
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            return read_time((await self._privacy.SetConsent(request, timeout=timeout)).time)

    async def cancel(self, request_id: str, *, timeout_s: float | None = None) -> Cancellation:
        """Cancels what runs under the id, whoever asked for it, or what is to come under it.

        Whoever waits for it gets Cancelled. An answer that is finished stays.
        """
        request = build_cancel_request(request_id)
        timeout = self._timeout(timeout_s)
        with translate_errors(request_id):
            return read_cancellation(await self._stub.CancelImage(request, timeout=timeout))

    @property
    def batches(self) -> AsyncBatches:
        """Jobs of many images, which outlive the connection."""
        return AsyncBatches(self._opened_channel(), self._timeout_s)

    async def is_serving(self, timeout_s: float = 5.0) -> bool:
        """Whether a server is there and ready."""
        try:
            return bool(
                await health_check(self._opened_channel())(timeout=check_timeout(timeout_s))
            )
        except grpc.RpcError as error:
            return read_refusal(error)

    async def _iterate(
        self, start: Callable[[], Any], request_id: str, read: Callable[[Any], T | None]
    ) -> AsyncGenerator[T, None]:
        call = start()
        try:
            with translate_errors(request_id):
                result = None
                async for reply in call:
                    item = read(reply)
                    if isinstance(item, Result):
                        result = item  # the last word: given once the call is over, not cut short
                    elif item is not None:
                        yield item
                if result is not None:
                    yield result
        finally:
            call.cancel()

    @property
    def _stub(self) -> Any:
        return ImageServiceStub(self._opened_channel())  # type: ignore[no-untyped-call]

    @property
    def _experiments(self) -> Any:
        return ExperimentServiceStub(self._opened_channel())  # type: ignore[no-untyped-call]

    @property
    def _privacy(self) -> Any:
        return PrivacyServiceStub(self._opened_channel())  # type: ignore[no-untyped-call]

    def _opened_channel(self) -> grpc.aio.Channel:
        # Opened on first use: a grpc.aio channel belongs to the loop it is made in.
        if self._channel is None:
            self._channel = self._endpoint.open_aio()
        return self._channel

    def _timeout(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else check_timeout(timeout_s)
