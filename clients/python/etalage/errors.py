"""What can go wrong, as a tree. gRPC's errors are translated here, once, by table.

EtalageError
├── InvalidArgument      the request must change; `violations` names every wrong field
├── NotFound             no such product, model or batch; `metadata` says which
├── Overloaded           the server is full; come back after `retry_after_s`
├── Unavailable          no server there, or it is starting or stopping
├── DeadlineExceeded     not done within `timeout_s`
├── Cancelled            somebody cancelled it by its id, or the server gave the call up
├── PermissionDenied     credentials missing or not sufficient
└── ServerError          the server failed; its log knows the `request_id`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import grpc

from etalage.details import ErrorDetails, read_details

_PUSHBACK = "grpc-retry-pushback-ms"


@dataclass(frozen=True)
class Violation:
    """One wrong field, by its path in the request message."""

    field: str
    description: str


class EtalageError(Exception):
    """Base of all errors of a call.

    `code` is the name of the gRPC status, `reason` a finer word in capitals, `metadata` what the
    server says besides. `retry_after_s` is set where the server asks for a pause.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] = MappingProxyType({}),
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.violations = violations
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata)
        self.request_id = request_id


class InvalidArgument(EtalageError, ValueError):
    """The request must change; `violations` names every wrong field."""


class NotFound(EtalageError, LookupError):
    """No such product, model or batch; `metadata` says which."""


class Overloaded(EtalageError):
    """The server is full; come back after `retry_after_s`."""


class Unavailable(EtalageError):
    """No server there, or it is starting or stopping."""


class DeadlineExceeded(EtalageError):
    """Not done within `timeout_s`."""


class Cancelled(EtalageError):
    """Somebody cancelled it by its id, or the server gave the call up."""


class PermissionDenied(EtalageError):
    """Credentials missing or not sufficient."""


class ServerError(EtalageError):
    """The server failed; its log knows the `request_id`."""


CODE_TO_ERROR: Mapping[grpc.StatusCode, type[EtalageError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidArgument,
    grpc.StatusCode.ALREADY_EXISTS: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.ABORTED: Unavailable,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: ServerError,
    grpc.StatusCode.INTERNAL: ServerError,
    grpc.StatusCode.DATA_LOSS: ServerError,
    grpc.StatusCode.UNKNOWN: ServerError,
}


@contextmanager
def translate_errors(request_id: str) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise translate(error, request_id) from error


def translate(error: grpc.RpcError, request_id: str) -> EtalageError:
    trailing_metadata: Iterable[Any] = error.trailing_metadata() or ()
    trailers = dict(trailing_metadata)
    details = read_details(trailers.get("grpc-status-details-bin"))
    return CODE_TO_ERROR.get(error.code(), ServerError)(
        error.details() or error.code().name,
        code=error.code().name,
        reason=details.reason,
        violations=tuple(Violation(*violation) for violation in details.violations),
        retry_after_s=_retry_after_s(details, trailers.get(_PUSHBACK)),
        metadata=details.metadata,
        request_id=request_id,
    )


def _retry_after_s(details: ErrorDetails, pushback_ms: object) -> float | None:
    if details.retry_after_s is not None:
        return details.retry_after_s
    if isinstance(pushback_ms, str) and pushback_ms.isdigit():
        return int(pushback_ms) / 1000
    return None
