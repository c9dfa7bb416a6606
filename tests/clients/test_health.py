"""Whether the client sees what the health service says."""

import asyncio
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from etalage import AsyncClient, Client, ServerError

SERVICE = "etalage.v1.ImageService"
STATUS = health_pb2.HealthCheckResponse


@contextmanager
def serve_health(servicer=None):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    if servicer is not None:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def ask(kind: str, server: str) -> bool:
    async def ask_awaited() -> bool:
        async with AsyncClient(server) as client:
            return await client.is_serving()

    if kind == "async":
        return asyncio.run(ask_awaited())
    with Client(server) as client:
        return client.is_serving()


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("status", "ready"),
    [(STATUS.SERVING, True), (STATUS.NOT_SERVING, False), (STATUS.SERVICE_UNKNOWN, False)],
)
def test_ready_is_what_the_image_service_says_of_itself(kind, status, ready):
    servicer = health.HealthServicer()
    servicer.set("", STATUS.SERVING if not ready else STATUS.NOT_SERVING)
    servicer.set(SERVICE, status)
    with serve_health(servicer) as server:
        assert ask(kind, server) is ready


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_service_nobody_knows_is_not_ready(kind):
    with serve_health(health.HealthServicer()) as server:
        assert ask(kind, server) is False


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_server_is_not_ready_and_no_health_service_is_an_error(kind):
    with serve_health() as server, pytest.raises(ServerError):
        ask(kind, server)
    assert ask(kind, server) is False
