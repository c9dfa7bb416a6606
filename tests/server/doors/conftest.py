"""A real gRPC server on a loopback socket, with a pipeline of a few lines behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from etalage.v1 import images_pb2_grpc
from server.configuration import ServerSlice
from server.doors.images import METHODS
from server.doors.listening import Door
from server.metrics import Metrics
from tests.server.doors.sketching import Sketcher

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass
class Counter:
    """What a test needs to ask at a door, and to look behind it."""

    door: Door
    channel: grpc.aio.Channel
    stub: Any
    sketcher: Sketcher
    metrics: Metrics
    address: str

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"etalage_{name}", labels)


@asynccontextmanager
async def opened_door(is_open: bool = True, **settings: Any) -> AsyncIterator[Counter]:
    metrics, sketcher = Metrics(METHODS), Sketcher()
    door = Door(ServerSlice(port=0, **settings), metrics)
    try:
        port = await door.start()
        if is_open:
            await door.open(sketcher, ("quality", "fast"))
        address = f"127.0.0.1:{port}"
        async with grpc.aio.insecure_channel(address, options=_UNLIMITED) as channel:
            stub = images_pb2_grpc.ImageServiceStub(channel)
            yield Counter(door, channel, stub, sketcher, metrics, address)
    finally:
        await door.stop()


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    async with opened_door() as opened:
        yield opened


async def rest_of(call: Any) -> list[Any]:
    """What a stream of which some was read still has."""
    messages = []
    while (message := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
        messages.append(message)
    return messages


@dataclass(frozen=True)
class Refusal:
    """An error as a client reads it."""

    code: grpc.StatusCode
    message: str
    infos: list[Any]
    violations: dict[str, str]
    retry_s: float
    trailers: dict[str, Any]

    @property
    def reason(self) -> str:
        assert len(self.infos) == 1
        assert self.infos[0].domain == "etalage"
        return str(self.infos[0].reason)


async def refusal_of(call: Any) -> Refusal:
    """Await the call, unary or the rest of a stream, which must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if hasattr(call, "read"):
            await rest_of(call)
        else:
            await call
    return read_refusal(caught.value)


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    metadata: Any = error.trailing_metadata()
    trailers: dict[str, Any] = dict(metadata)
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    bad = _unpack(status, error_details_pb2.BadRequest)
    retry = _unpack(status, error_details_pb2.RetryInfo)
    return Refusal(
        code=error.code(),
        message=error.details() or "",
        infos=_unpack(status, error_details_pb2.ErrorInfo),
        violations={v.field: v.description for each in bad for v in each.field_violations},
        retry_s=retry[0].retry_delay.ToNanoseconds() / 1e9 if retry else 0.0,
        trailers=trailers,
    )


def _unpack(status: Any, kind: Any) -> list[Any]:
    packed = [detail for detail in status.details if detail.Is(kind.DESCRIPTOR)]
    return [kind.FromString(detail.value) for detail in packed]
