"""Errors as google.rpc.Status, translated here, once, by table.

Every status carries exactly one ErrorInfo of domain "etalage"; INVALID_ARGUMENT carries a
BadRequest, a spent quota a QuotaFailure, RESOURCE_EXHAUSTED and UNAVAILABLE carry a RetryInfo and
tell the client when to come back, CANCELLED tells it never to. What is not in the table is
INTERNAL, and none of its text leaves the server.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from diffusion.checkpoint import CheckpointUnusable
from features.records import FeaturesUnavailable, ProductUnknown
from server import errors

DOMAIN = "etalage"
PUSHBACK = "grpc-retry-pushback-ms"
DETAILS = "grpc-status-details-bin"
UNEXPECTED = "the server failed unexpectedly; its log has the cause under the request id"

_NEVER = "-1"  # clients try CANCELLED again, which of a stopping server is right
_UNREAD = "the product's features can't be read now"

_CODES: tuple[tuple[type[Exception], StatusCode], ...] = (
    (errors.InvalidRequest, StatusCode.INVALID_ARGUMENT),
    (errors.ProductNotFound, StatusCode.NOT_FOUND),
    (ProductUnknown, StatusCode.NOT_FOUND),
    (errors.ModelNotFound, StatusCode.NOT_FOUND),
    (errors.BatchNotFound, StatusCode.NOT_FOUND),
    (errors.ExperimentNotFound, StatusCode.NOT_FOUND),
    (errors.ModelBusy, StatusCode.ABORTED),
    (errors.FailedPrecondition, StatusCode.FAILED_PRECONDITION),
    (CheckpointUnusable, StatusCode.FAILED_PRECONDITION),
    (errors.Overloaded, StatusCode.RESOURCE_EXHAUSTED),
    (errors.Unauthenticated, StatusCode.UNAUTHENTICATED),
    (errors.PermissionDenied, StatusCode.PERMISSION_DENIED),
    (errors.Unavailable, StatusCode.UNAVAILABLE),
    (FeaturesUnavailable, StatusCode.UNAVAILABLE),
    (errors.DeadlineExceeded, StatusCode.DEADLINE_EXCEEDED),
    (errors.Cancelled, StatusCode.CANCELLED),
    (errors.SamplingFailed, StatusCode.INTERNAL),
)
FOREIGN_REASONS: dict[type[Exception], str] = {
    ProductUnknown: errors.ProductNotFound.reason,
    FeaturesUnavailable: "FEATURES_UNAVAILABLE",
    CheckpointUnusable: "MODEL_UNUSABLE",
}

_UNAVAILABLE_RETRY_S = 1.0
# Peers refuse more than 8 KiB of metadata, in which all of this travels, some of it as base64.
_MAX_MESSAGE_BYTES = 500
_MAX_TEXT_BYTES = 200
_MAX_VIOLATIONS_BYTES = 3500


def code_of(error: BaseException) -> StatusCode:
    return find_code(type(error))


def find_code(kind: type[BaseException]) -> StatusCode:
    return next((code for known, code in _CODES if issubclass(kind, known)), StatusCode.INTERNAL)


def is_expected(error: BaseException) -> bool:
    """Whether the table knows the error, so that its text may be told."""
    return any(isinstance(error, kind) for kind, _ in _CODES)


def reason_of(error: BaseException) -> str:
    if isinstance(error, errors.EtalageError):
        return error.reason
    return next(
        (reason for kind, reason in FOREIGN_REASONS.items() if isinstance(error, kind)), "INTERNAL"
    )


def message_of(error: BaseException) -> str:
    if not is_expected(error):
        return UNEXPECTED
    if isinstance(error, FeaturesUnavailable):
        return _UNREAD  # its own text tells of the store
    return _cut(str(error), _MAX_MESSAGE_BYTES) or reason_of(error).lower().replace("_", " ")


def retry_after_s(error: BaseException) -> float | None:
    if isinstance(error, errors.Overloaded):
        return error.retry_after_s
    return _UNAVAILABLE_RETRY_S if code_of(error) is StatusCode.UNAVAILABLE else None


def status_of(error: BaseException, request_id: str = "") -> Status:
    """The whole status, details packed."""
    status = Status(code=code_of(error).value[0], message=message_of(error))
    status.details.extend(_pack(detail) for detail in _details(error, request_id))
    return status


def trailers_of(error: BaseException, request_id: str = "") -> tuple[tuple[str, str | bytes], ...]:
    """What goes into the trailing metadata beside code and message."""
    trailers: list[tuple[str, str | bytes]] = [
        (DETAILS, status_of(error, request_id).SerializeToString())
    ]
    if (pause_s := retry_after_s(error)) is not None:
        trailers.append((PUSHBACK, str(max(1, round(pause_s * 1000)))))
    elif isinstance(error, errors.Cancelled):
        trailers.append((PUSHBACK, _NEVER))
    return tuple(trailers)


def _details(error: BaseException, request_id: str) -> Iterator[Message]:
    yield ErrorInfo(reason=reason_of(error), domain=DOMAIN, metadata=_metadata(error, request_id))
    if isinstance(error, errors.InvalidRequest):
        yield _bad_request(error)
    if isinstance(error, errors.QuotaExceeded):
        subject = f"tenant:{error.tenant}"
        yield QuotaFailure(violations=[{"subject": subject, "description": error.quota}])
    if (pause_s := retry_after_s(error)) is not None:
        delay = Duration()
        delay.FromNanoseconds(round(pause_s * 1e9))
        yield RetryInfo(retry_delay=delay)


def _metadata(error: BaseException, request_id: str) -> dict[str, str]:
    metadata = {"request_id": _cut(request_id, _MAX_TEXT_BYTES)} if request_id else {}
    if isinstance(error, errors.ProductNotFound | ProductUnknown):
        metadata["product_id"] = _cut(error.product_id, _MAX_TEXT_BYTES)
    if isinstance(error, errors.ModelNotFound | errors.ModelBusy):
        metadata["model"] = _cut(error.name, _MAX_TEXT_BYTES)
    if isinstance(error, errors.BatchNotFound):
        metadata["batch"] = _cut(error.batch_id, _MAX_TEXT_BYTES)
    if isinstance(error, errors.ExperimentNotFound):
        metadata["experiment"] = _cut(error.key, _MAX_TEXT_BYTES)
    if isinstance(error, errors.InvalidRequest):
        metadata["num_violations"] = str(len(error.violations))
    return metadata


def _bad_request(error: errors.InvalidRequest) -> BadRequest:
    bad = BadRequest()
    for violation in error.violations:
        field = BadRequest.FieldViolation(
            field=_cut(violation.field, _MAX_TEXT_BYTES),
            description=_cut(violation.description, _MAX_TEXT_BYTES),
            reason=error.reason,
        )
        if bad.ByteSize() + field.ByteSize() > _MAX_VIOLATIONS_BYTES:
            break
        bad.field_violations.append(field)
    return bad


def _pack(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _cut(text: str, max_bytes: int) -> str:
    data = text.encode()
    return text if len(data) <= max_bytes else data[:max_bytes].decode(errors="ignore") + "…"
