"""What the browser may ask for. Every answer comes from the server, through the client.

A call that takes time is answered by lines of JSON, one for each piece of news; a browser that
leaves ends the call, and frees its rows on the server.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from etalage import AsyncClient, EtalageError, Image, Result, Retries, Verified
from etalage.channels import ConnectionOptions
from etalage.enhancement import EnhanceOptions
from etalage_playground.asking import (
    read_items,
    read_options,
    read_product,
    read_products,
    refuse,
)
from etalage_playground.suggestions import Suggestions
from etalage_playground.telling import tell, tell_event
from etalage_playground.wording import START, choose_status, tell_error

if TYPE_CHECKING:
    from typing_extensions import Unpack

PAGE = Path(__file__).with_name("page")
PREVIEW_SIDE = 256
PACKSHOT_SIDE = 160
MAX_REQUEST_BYTES = 256 * 1024
MAX_PICTURE_BYTES = 20 * 1024 * 1024
_PATIENCE: ConnectionOptions = {
    "retries": Retries(max_attempts=1),
    "channel_options": (
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ),
}
"""Somebody looks at the page: they are told at once, and a server that comes back is found soon."""


def build_site(
    server: str,
    suggestions: Suggestions,
    *,
    timeout_s: float,
    **connection: Unpack[ConnectionOptions],
) -> Starlette:
    """Raises ValueError and OSError for a connection that can't be."""
    client = AsyncClient(server, timeout_s=timeout_s, **(_PATIENCE | connection))
    site = Site(client, server, suggestions)

    @asynccontextmanager
    async def close_at_last(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return Starlette(
        routes=site.routes(),
        lifespan=close_at_last,
        exception_handlers={EtalageError: cast(Any, _refuse)},
    )


class Site:
    def __init__(self, client: AsyncClient, server: str, suggestions: Suggestions) -> None:
        self._client = client
        self._server = server
        self._suggestions = suggestions

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/", _show_page),
            Route("/api/welcome", self.welcome),
            Route("/api/packshot", self.show_packshot),
            Route("/api/images", self.stream_images, methods=["POST"]),
            Route("/api/slates", self.stream_slate, methods=["POST"]),
            Route("/api/explanations", self.explain, methods=["POST"]),
            Route("/api/repairs", self.repair, methods=["POST"]),
            Route("/api/batches", self.submit_batch, methods=["POST"]),
            Route("/api/batches/{batch_id}/cancel", self.cancel_batch, methods=["POST"]),
            Route("/api/experiments", self.list_experiments),
            Route("/api/experiments/{key}", self.report),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]

    async def welcome(self, _: Request) -> Response:
        """Where the server is, whether it serves, how to start one, and names to begin with."""
        return JSONResponse(
            {
                "server": self._server,
                "is_serving": await self._is_serving(),
                "start": START,
                **asdict(self._suggestions),
            }
        )

    async def show_packshot(self, request: Request) -> Response:
        """The merchant's own picture, `side` pixels at most."""
        product, side = (request.query_params.get(name, "") for name in ("product", "side"))
        if side and not side.isdecimal():
            raise refuse("side", f"{side!r} is no number of pixels")
        made = await self._client.generate(
            product, arm="original", longest_side=int(side or PACKSHOT_SIDE), format="webp"
        )
        headers = {"cache-control": "private, max-age=300"}
        return Response(made.image.data, media_type=made.image.mime_type, headers=headers)

    async def stream_images(self, request: Request) -> Response:
        """Accepted, progress with previews, the result, and what VerifyImage says of each image."""
        wanted = await _read_json(request)
        stream = self._client.stream(
            read_product(wanted), preview_side=PREVIEW_SIDE, **read_options(wanted)
        )
        return _stream(self._verify_last(stream))

    async def stream_slate(self, request: Request) -> Response:
        wanted = await _read_json(request)
        products = read_products(wanted)
        options = read_options({k: v for k, v in wanted.items() if k != "products"})
        return _stream(self._client.slate(products, **options))

    async def explain(self, request: Request) -> Response:
        wanted = await _read_json(request)
        answer = await self._client.explain(read_product(wanted), **read_options(wanted))
        return JSONResponse(tell(answer))

    async def repair(self, request: Request) -> Response:
        """The picture is the body; `diagnose_only` in the query leaves it as it is."""
        picture = await _read_body(request, MAX_PICTURE_BYTES)
        if not picture:
            raise refuse("image", "there is no picture")
        options = EnhanceOptions(diagnose_only="diagnose_only" in request.query_params)
        return JSONResponse(tell(await self._client.enhance(picture, **options)))

    async def submit_batch(self, request: Request) -> Response:
        """The batch whenever it has come further. It goes on where the browser leaves."""
        batch = await self._client.batches.submit(read_items(await _read_json(request)))
        return _stream(self._client.batches.watch(batch.batch_id))

    async def cancel_batch(self, request: Request) -> Response:
        return JSONResponse(
            tell(await self._client.batches.cancel(request.path_params["batch_id"]))
        )

    async def list_experiments(self, _: Request) -> Response:
        return JSONResponse(tell(await self._client.experiments()))

    async def report(self, request: Request) -> Response:
        report = await self._client.report(request.path_params["key"])
        return JSONResponse(report.facts)

    async def _is_serving(self) -> bool:
        try:
            return await self._client.is_serving(timeout_s=2.0)
        except EtalageError:
            return True  # it is there, and refuses; whatever is asked next says why

    async def _verify_last(self, events: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        try:
            async for event in events:
                yield event
                if isinstance(event, Result):
                    for image in event.images:
                        yield await self._verify(image)
        finally:
            await events.aclose()

    async def _verify(self, image: Image) -> Verified:
        """What the server reads out of the file, or why it can't: the image is there anyway."""
        try:
            return await self._client.verify(image.data)
        except EtalageError as error:
            return Verified("unread", faults=(str(error),))


async def _show_page(_: Request) -> Response:
    return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})


def _refuse(_: Request, error: EtalageError) -> Response:
    return JSONResponse(tell_error(error), choose_status(error))


def _stream(events: AsyncGenerator[Any, None]) -> StreamingResponse:
    async def write_lines() -> AsyncIterator[str]:
        try:
            async for event in events:
                yield json.dumps(tell_event(event)) + "\n"
        except EtalageError as error:
            yield json.dumps(tell_error(error)) + "\n"
        finally:
            await events.aclose()

    return StreamingResponse(write_lines(), media_type="application/x-ndjson")


async def _read_json(request: Request) -> dict[str, Any]:
    try:
        wanted = json.loads(await _read_body(request, MAX_REQUEST_BYTES))
    except ValueError as error:
        if isinstance(error, EtalageError):
            raise
        raise refuse("request", f"is no JSON: {error}") from error
    if not isinstance(wanted, dict):
        raise refuse("request", "expected an object")
    return wanted


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """Stops reading where it is too much."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise refuse("request", f"is larger than {max_bytes / 2**20:g} MiB")
    return bytes(body)
