"""The way of a request, told once. Every door walks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from diffusion.model import ProductDiffusion
from features.records import Product, Products, Shopper
from server.core import (
    Accepted,
    Arm,
    EncodedImage,
    ImageRequest,
    ImageResult,
    InlineProduct,
    ModelCard,
    OutputSpec,
    Pixels,
    Source,
)
from server.errors import DeadlineExceeded, InvalidRequest, Unavailable, Violation
from server.experiments import Assignment, assign
from server.imaging.compose import compose
from server.imaging.encode import encode, show_packshot
from server.news import Listener, News
from server.personalization import Taste, decide
from server.products import PreparedProduct, ProductShelf
from server.rows import Defaults, fit_deadline, may_degrade, plan_rows
from server.sampling.engine import Engine
from server.sampling.row import RowRequest
from server.stopwatch import Stopwatch

T = TypeVar("T")


class Reader(Protocol):
    """What the pipeline asks of features/reader.py."""

    service: str
    fingerprint: str

    async def read(
        self, user_id: str | None, product_ids: Sequence[str], *, timeout_s: float
    ) -> tuple[Shopper | None, Products]: ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came out of the engine: pixels [S, S, 3] for each of the rows that were stepped."""

    rows: Sequence[RowRequest]
    pixels: Sequence[Pixels]


class Pipeline:
    def __init__(
        self,
        reader: Reader,
        model: ProductDiffusion,
        engine: Engine,
        workers: Executor,
        defaults: Defaults | None = None,
    ) -> None:
        self._reader, self._model, self._engine = reader, model, engine
        self._workers, self._defaults = workers, defaults or Defaults()
        self._shelf = ProductShelf(model)
        self._card = ModelCard(model.name, model.digest)

    async def generate(
        self, request: ImageRequest, on_event: Listener | None = None
    ) -> ImageResult:
        """Answers one request; cancelling the awaiting task frees what it holds.

        Raises server.errors.EtalageError, features.records.ProductUnknown or FeaturesUnavailable.
        """
        watch = Stopwatch()
        assignment = assign(request, self._defaults.strength)
        with watch.stage("read"):
            taste, features = await self._read(request, assignment)
        with watch.stage("fuse"):
            product = await self._prepare(request, features)
            rows = plan_rows(request, assignment, taste, product, self._model, self._defaults)
        sampled = None
        if assignment.arm is not Arm.ORIGINAL:
            sampled = await self._sample(request, rows, watch, on_event)
        with watch.stage("compose"):
            creatives = await self._compose(request, product, sampled)
        with watch.stage("encode"):
            seeds = [row.seed for row in rows]
            images = await self._encode(creatives, seeds, request.output)
        return self._seal(request, assignment, taste, sampled, images, watch)

    async def _read(
        self, request: ImageRequest, assignment: Assignment
    ) -> tuple[Taste, Product | None]:
        timeout_s = self._defaults.read_timeout_s
        if request.deadline_s is not None:
            timeout_s = min(timeout_s, max(0.0, request.deadline_s - time.monotonic()))
        user_id = request.user_id if assignment.wants_shopper else None
        product_ids = [request.product] if isinstance(request.product, str) else []
        shopper, products = await self._reader.read(
            user_id or None, product_ids, timeout_s=timeout_s
        )
        service, fingerprint = self._reader.service, self._reader.fingerprint
        taste = decide(assignment, request.user_id, shopper, service, fingerprint)
        if not isinstance(request.product, str):
            return taste, None
        found = products[request.product]
        if isinstance(found, Exception):
            raise found
        return taste, found

    async def _prepare(self, request: ImageRequest, features: Product | None) -> PreparedProduct:
        try:
            if features is not None:
                return await self._run(self._shelf.prepare, features, request.locale)
            assert isinstance(request.product, InlineProduct)
            return await self._run(self._shelf.prepare_inline, request.product)
        except ValueError as error:
            if features is not None:
                raise Unavailable("its packshot can't be read", "PACKSHOT_UNAVAILABLE") from error
            raise InvalidRequest(Violation("inline_product.packshot", str(error))) from error

    async def _sample(
        self,
        request: ImageRequest,
        rows: Sequence[RowRequest],
        watch: Stopwatch,
        on_event: Listener | None,
    ) -> Sampled | None:
        """None where the deadline can't be met and the request would rather have the packshot."""
        try:
            rows = fit_deadline(rows, request, self._engine, self._model, self._defaults)
            with ExitStack() as stack:
                news = None
                if on_event is not None:
                    num_steps = rows[0].plan[-1].step
                    decode = self._model.decode
                    news = News(request.preview_side, num_steps, decode, self._workers, on_event)
                    stack.callback(news.close)
                ticket = self._engine.submit(rows, news.step if news else None)
                stack.callback(ticket.release)
                if on_event is not None:
                    on_event(Accepted())
                pixels = await ticket.result
        except DeadlineExceeded:
            if not may_degrade(request):
                raise
            return None
        watch.note(queue=ticket.queue_s, sample=ticket.sample_s, decode=ticket.decode_s)
        return Sampled(rows, pixels)

    async def _compose(
        self, request: ImageRequest, product: PreparedProduct, sampled: Sampled | None
    ) -> list[Pixels]:
        """The creatives; or the packshot, once, however many images are asked for."""
        side, cutout = request.output.longest_side, product.cutout
        if sampled is None:
            return [await self._run(show_packshot, cutout, side)]
        return await asyncio.gather(
            *(self._run(compose, pixels, cutout, side, request.mode) for pixels in sampled.pixels)
        )

    async def _encode(
        self, creatives: Sequence[Pixels], seeds: Sequence[int], output: OutputSpec
    ) -> list[EncodedImage]:
        files = await asyncio.gather(*(self._run(encode, each, output) for each in creatives))
        if len(files) == 1:
            files *= len(seeds)
        return [replace(file, seed=seed) for file, seed in zip(files, seeds, strict=True)]

    def _seal(
        self,
        request: ImageRequest,
        assignment: Assignment,
        taste: Taste,
        sampled: Sampled | None,
        images: Sequence[EncodedImage],
        watch: Stopwatch,
    ) -> ImageResult:
        return ImageResult(
            images=tuple(images),
            source=Source.ORIGINAL if sampled is None else Source.GENERATED,
            personalization=taste.account,
            arm=assignment.arm,
            model=None if sampled is None else self._card,
            sampler=None if sampled is None else request.sampler,
            steps=0 if sampled is None else sampled.rows[0].plan[-1].step,
            timings_s=watch.timings_s,
            request_id=request.request_id,
        )

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """Pixel work, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)
