"""Both clients behind one face, so that each promise is tested of both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from etalage import AsyncClient, Client
from etalage.channels import ConnectionOptions
from tests.way.conftest import make_home

__all__ = ["make_home"]


class SyncFace:
    def generate(self, server: str, product: Any, **options: Any) -> Any:
        connection, call = _split(options)
        with Client(server, **connection) as client:
            return client.generate(product, **call)

    def stream(self, server: str, product: Any, **options: Any) -> list[Any]:
        connection, call = _split(options)
        with Client(server, **connection) as client:
            return list(client.stream(product, **call))

    def slate(self, server: str, products: Any, **options: Any) -> list[Any]:
        connection, call = _split(options)
        with Client(server, **connection) as client:
            return list(client.slate(products, **call))

    def cancel(self, server: str, request_id: Any, **options: Any) -> Any:
        connection, call = _split(options)
        with Client(server, **connection) as client:
            return client.cancel(request_id, **call)

    def explain(self, server: str, product: Any, **options: Any) -> Any:
        connection, call = _split(options)
        with Client(server, **connection) as client:
            return client.explain(product, **call)


class AsyncFace:
    def generate(self, server: str, product: Any, **options: Any) -> Any:
        async def ask() -> Any:
            connection, call = _split(options)
            async with AsyncClient(server, **connection) as client:
                return await client.generate(product, **call)

        return asyncio.run(ask())

    def stream(self, server: str, product: Any, **options: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection, call = _split(options)
            async with AsyncClient(server, **connection) as client:
                return [event async for event in client.stream(product, **call)]

        return asyncio.run(ask())

    def slate(self, server: str, products: Any, **options: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection, call = _split(options)
            async with AsyncClient(server, **connection) as client:
                return [item async for item in client.slate(products, **call)]

        return asyncio.run(ask())

    def cancel(self, server: str, request_id: Any, **options: Any) -> Any:
        async def ask() -> Any:
            connection, call = _split(options)
            async with AsyncClient(server, **connection) as client:
                return await client.cancel(request_id, **call)

        return asyncio.run(ask())

    def explain(self, server: str, product: Any, **options: Any) -> Any:
        async def ask() -> Any:
            connection, call = _split(options)
            async with AsyncClient(server, **connection) as client:
                return await client.explain(product, **call)

        return asyncio.run(ask())


Face = SyncFace | AsyncFace

_CONNECTION = tuple(ConnectionOptions.__annotations__)


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    connection = {name: value for name, value in options.items() if name in _CONNECTION}
    return connection, {n: value for n, value in options.items() if n not in _CONNECTION}


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    chosen: type[Face] = request.param
    return chosen()
