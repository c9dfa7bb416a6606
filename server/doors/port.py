"""A port of gRPC with health and reflection, and the services that are given to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from server import logs
from server.access.certificates import Certificates
from server.access.watched import Watched
from server.doors.encryption import make_credentials
from server.doors.interceptor import RequestInterceptor

MAX_TRANSPORT_BYTES = 64 * 1024 * 1024
"""Larger requests are refused by gRPC itself, unread, with RESOURCE_EXHAUSTED and no details."""

_MAX_HEALTH_CALLS = 64
_HEALTH_WAIT_S = 1.0
_STOP_S = 1.0

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """A service by its full name, its methods, and what guards them."""

    name: str
    handlers: grpc.GenericRpcHandler[Any, Any]
    interceptor: RequestInterceptor


class Port:
    """Services on one address. Not healthy until it is told so."""

    def __init__(
        self,
        host: str,
        port: int,
        services: Sequence[Service],
        max_in_flight: int,
        certificates: Watched[Certificates] | None = None,
    ) -> None:
        """Plain text without `certificates`."""
        self._address = _address(host, port)
        self._certificates = certificates
        self._services = tuple(service.name for service in services)
        self.health = HealthServicer()
        self._is_serving = False
        self._server = grpc.aio.server(
            interceptors=[_Guards(services)],
            options=_options(max_in_flight),
            # A far-out net, since it refuses health checks as well; the gate does the work.
            maximum_concurrent_rpcs=4 * max_in_flight + 1024,
        )
        server = _GenericHandlers(self._server)
        server.add_generic_rpc_handlers([service.handlers for service in services])
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        names = (
            *self._services,
            *_names(health_pb2.DESCRIPTOR),
            *_names(reflection_pb2.DESCRIPTOR),
        )
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            ReflectionServicer(names), server
        )

    async def start(self) -> int:
        """Listen, not healthy yet, and return the port. Raises OSError."""
        await self._tell_health(False)
        return await _listen(self._server, self._address, self._certificates)

    async def report(self, is_healthy: bool) -> None:
        """Say by name and as a whole whether we are healthy."""
        if is_healthy != self._is_serving:
            self._is_serving = is_healthy
            await self._tell_health(is_healthy)
            log.info("health", service=self._services[0], serving=is_healthy)

    async def say_goodbye(self) -> None:
        """Health says for good that we go."""
        with suppress(TimeoutError):  # a watcher that does not read must not hold us up
            await asyncio.wait_for(self.health.enter_graceful_shutdown(), _HEALTH_WAIT_S)

    async def stop(self, is_idle: bool) -> None:
        """End what is left and close."""
        # Not the whole grace: the streams of health watchers would never end by themselves.
        await self._server.stop(_STOP_S if is_idle else None)

    async def _tell_health(self, is_healthy: bool) -> None:
        status = health_pb2.HealthCheckResponse.ServingStatus
        for name in ("", *self._services):
            await self.health.set(name, status.SERVING if is_healthy else status.NOT_SERVING)


class HealthPort:
    """Says what other ports say of themselves, in plain text, and is never full of their calls."""

    def __init__(self, host: str, port: int, health: HealthServicer) -> None:
        self._address = _address(host, port)
        self._server = grpc.aio.server(options=_options(_MAX_HEALTH_CALLS))
        health_pb2_grpc.add_HealthServicer_to_server(health, _GenericHandlers(self._server))

    async def start(self) -> int:
        """Listen, and return the port. Raises OSError."""
        return await _listen(self._server, self._address)

    async def stop(self) -> None:
        await self._server.stop(None)


async def _listen(
    server: grpc.aio.Server, address: str, certificates: Watched[Certificates] | None = None
) -> int:
    """Raises OSError."""
    try:
        if certificates is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, make_credentials(certificates))
    except RuntimeError as error:
        raise OSError(f"{address}: can't listen there") from error
    await server.start()
    return port


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _options(max_in_flight: int) -> Sequence[tuple[str, int]]:
    return (
        ("grpc.max_receive_message_length", MAX_TRANSPORT_BYTES),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.max_concurrent_streams", 2 * max_in_flight + 64),
        ("grpc.so_reuseport", 0),  # a second server on the port fails rather than takes turns
        # Finds clients that are gone without a word, and lets clients look for a server that is.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    )


class _Guards(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Each call goes past the guard of its own service; the first one sees to calls of none."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._first = services[0].interceptor
        self._by_name = {service.name: service.interceptor for service in services}

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        name = handler_call_details.method.lstrip("/").rpartition("/")[0]
        guard = self._by_name.get(name, self._first)
        return await guard.intercept_service(continuation, handler_call_details)


class _GenericHandlers:
    """A server that generated code may add services to, but no registered methods.

    The accept loop of grpc.aio waits on a future for each registered method and grows slower with
    their number (grpc#43092); generic handlers serve the same calls.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(
        self, handlers: Sequence[grpc.GenericRpcHandler[Any, Any]]
    ) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        pass


def _names(file: Any) -> list[str]:
    return [service.full_name for service in file.services_by_name.values()]
