"""The client for threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from etalage.batches import Batches
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


class Client:
    """Asks an Etalage server for images. One client serves any number of threads; keep it.

    with Client("127.0.0.1:50051") as client:
        client.generate("wrench", user="u1", strength=0.7).image.save("wrench.png")

    Every call has a deadline: `timeout_s` of the call or, without one, of the client. It covers
    retries and, for `stream` and `slate`, everything up to the last message.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        **connection: Unpack[ConnectionOptions],
    ) -> None:
        self._timeout_s = check_timeout(timeout_s)
        self._channel = resolve_endpoint(server, **connection).open()
        self._stub = ImageServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._enhancement = EnhancementServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._provenance = ProvenanceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._experiments = ExperimentServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._privacy = PrivacyServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and every call that still uses it."""
        self._channel.close()

    def generate(
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
        with translate_errors(request.request_id):
            return read_result(self._stub.GenerateImage(request, timeout=self._timeout(timeout_s)))

    def stream(
        self,
        product: str | Product,
        *,
        preview_side: int = 0,
        timeout_s: float | None = None,
        **options: Unpack[ImageOptions],
    ) -> Iterator[Event]:
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
    ) -> Iterator[SlateItem]:
        """Yields one image for each of the ranked products, each as soon as it is ready."""
        request = build_slate_request(products, **options)
        timeout = self._timeout(timeout_s)
        return self._iterate(
            lambda: self._stub.GenerateSlate(request, timeout=timeout),
            request.request_id,
            read_slate_item,
        )

    def explain(
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
            return read_answer(self._stub.ExplainImage(request, timeout=timeout))

    def enhance(
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
            return read_enhanced(self._enhancement.EnhanceImage(request, timeout=timeout))

    def verify(
        self, image: str | os.PathLike[str] | bytes, *, timeout_s: float | None = None
    ) -> Verified:
        """Says of an image, a path or bytes, where it comes from, and whether it was changed."""
        request = build_verify_request(image)
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            return read_verified(self._provenance.VerifyImage(request, timeout=timeout))

    def record(self, events: Iterable[ShopEvent], *, timeout_s: float | None = None) -> Recorded:
        """Tells what shoppers saw and did. What is not rejected is on disk when this returns, and
        the same events again are harmless.
        """
        timeout, parts = self._timeout(timeout_s), []
        for piece in split_events(events):
            with translate_errors(""):
                request = build_record_request(piece)
                answer = self._experiments.RecordEvents(request, timeout=timeout)
            parts.append(read_recorded(piece, answer))
        return add_up(parts)

    def experiments(self, *, timeout_s: float | None = None) -> tuple[Experiment, ...]:
        """The tests of the server, in the order of its file."""
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            return read_experiments(
                self._experiments.ListExperiments(ListExperimentsRequest(), timeout=timeout)
            )

    def report(
        self, experiment: str, *, html: bool = False, timeout_s: float | None = None
    ) -> ExperimentReport:
        """What an experiment came to by now; takes seconds where there are many events."""
        request = GetExperimentReportRequest(experiment=experiment, html=html)
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            return read_report(self._experiments.GetExperimentReport(request, timeout=timeout))

    def erase(
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
            return read_proof(self._privacy.EraseUser(request, timeout=timeout))

    def export_user(self, user: str, *, timeout_s: float | None = None) -> bytes:
        """All that is held of a shopper, as JSON."""
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            answer = self._privacy.ExportUser(ExportUserRequest(user_id=user), timeout=timeout)
            return bytes(answer.json)

    def set_consent(self, user: str, given: bool, *, timeout_s: float | None = None) -> datetime:
        """Gives or withdraws a shopper's consent; since when it is in force."""
        request = build_consent_request(user, given)
        timeout = self._timeout(timeout_s)
        with translate_errors(""):
            return read_time(self._privacy.SetConsent(request, timeout=timeout).time)

    def cancel(self, request_id: str, *, timeout_s: float | None = None) -> Cancellation:
        """Cancels what runs under the id, whoever asked for it, or what is to come under it.

        Whoever waits for it gets Cancelled. An answer that is finished stays.
        """
        request = build_cancel_request(request_id)
        timeout = self._timeout(timeout_s)
        with translate_errors(request_id):
            return read_cancellation(self._stub.CancelImage(request, timeout=timeout))

    @property
    def batches(self) -> Batches:
        """Jobs of many images, which outlive the connection."""
        return Batches(self._channel, self._timeout_s)

    def is_serving(self, timeout_s: float = 5.0) -> bool:
        """Whether a server is there and ready."""
        try:
            return bool(health_check(self._channel)(timeout=check_timeout(timeout_s)))
        except grpc.RpcError as error:
            return read_refusal(error)

    def _iterate(
        self, start: Callable[[], Any], request_id: str, read: Callable[[Any], T | None]
    ) -> Iterator[T]:
        call = start()
        try:
            with translate_errors(request_id):
                result = None
                for reply in call:
                    item = read(reply)
                    if isinstance(item, Result):
                        result = item  # the last word: given once the call is over, not cut short
                    elif item is not None:
                        yield item
                if result is not None:
                    yield result
        finally:
            call.cancel()

    def _timeout(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else check_timeout(timeout_s)
