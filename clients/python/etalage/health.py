"""Asks gRPC's health service whether the image service is ready."""

from __future__ import annotations

from functools import partial
from typing import Any

import grpc

from etalage.errors import translate
from etalage.foreign import new_message, parse

METHOD = "/grpc.health.v1.Health/Check"

_SERVING = 1
_NOT_READY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.NOT_FOUND,
)


def health_check(channel: Any) -> Any:
    """The method on a channel of either kind; it takes no request worth naming."""
    request: bytes = new_message(
        "HealthCheckRequest", service="etalage.v1.ImageService"
    ).SerializeToString()
    return partial(channel.unary_unary(METHOD, response_deserializer=_is_serving), request)


def read_refusal(error: grpc.RpcError) -> bool:
    """False where the error says "not ready"; raises every other one, translated."""
    if error.code() in _NOT_READY:
        return False
    raise translate(error, "") from error


def _is_serving(data: bytes) -> bool:
    return bool(parse("HealthCheckResponse", data).status == _SERVING)
