"""The way of a request, told once. Every door walks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary, proxy

from diffusion.encoders import Encoders
from diffusion.families.adapters.lora import NoRoom
from diffusion.image_model import ImageModel
from features.records import Product, Products, Shopper
from server.core import (
    QUALITY,
    Accepted,
    Arm,
    Degradation,
    EncodedImage,
    ImageRequest,
    ImageResult,
    InlineProduct,
    ModelCard,
    OutputSpec,
    Pixels,
    SamplerName,
    Source,
)
from server.errors import DeadlineExceeded, InvalidRequest, Overloaded, Unavailable, Violation
from server.experiments import Assignment, assign
from server.imaging.compose import compose
from server.imaging.encode import encode, show_packshot
from server.nearest import NearestTaste
from server.news import Listener, News
from server.personalization import Taste, decide
from server.products import PreparedProduct, ProductShelf
from server.revision import Revision
from server.rows import (
    MIN_WAIT_S,
    Defaults,
    choose_style,
    find_steps,
    may_degrade,
    plan_rows,
    point,
)
from server.sampling.router import Router
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


class Models(Protocol):
    """What the pipeline asks of server/models.py."""

    def lease(self, name: str = "") -> AbstractContextManager[Revision]:
        """The revision of a model that serves now, held for as long as one request takes."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came out of the engine: pixels [S, S, 3] for each of the rows that were stepped, and
    what they took."""

    rows: Sequence[RowRequest]
    pixels: Sequence[Pixels]
    num_forward_rows: int
    num_shared_steps: int

    @property
    def num_steps(self) -> int:
        return self.rows[0].plan[-1].step


class Pipeline:
    def __init__(
        self,
        reader: Reader,
        models: Models,
        encoders: Encoders,
        router: Router,
        workers: Executor,
        defaults: Defaults | None = None,
    ) -> None:
        """`encoders` are those that the features were made with."""
        self._reader, self._models, self._router = reader, models, router
        self._encoders = encoders
        self._workers, self._defaults = workers, defaults or Defaults()
        self._shelves: WeakKeyDictionary[ImageModel, ProductShelf] = WeakKeyDictionary()
        self._nearest = NearestTaste(self._defaults.nearest_bytes)

    async def generate(
        self, request: ImageRequest, on_event: Listener | None = None
    ) -> ImageResult:
        """Answers one request; cancelling the awaiting task frees what it holds.

        Raises server.errors.EtalageError, features.records.ProductUnknown or FeaturesUnavailable.
        """
        with self._models.lease(request.model) as revision:
            return await self._walk(request, revision.model(), on_event)

    async def _walk(
        self, request: ImageRequest, model: ImageModel, on_event: Listener | None
    ) -> ImageResult:
        watch = Stopwatch()
        assignment = assign(request, self._defaults.strength)
        with watch.stage("read"):
            taste, features = await self._read(request, assignment)
        with watch.stage("fuse"):
            product = await self._prepare(request, model, features)
            style = await self._load_style(request, model, taste)
            plan = partial(
                plan_rows, request, assignment, taste, product, model, self._defaults, style
            )
            rows = await self._run(plan) if model.is_planning_slow else plan()
        sampled = None
        if assignment.arm is not Arm.ORIGINAL:
            try:
                sampled = await self._sample(request, model, rows, plan, watch, on_event)
            except (DeadlineExceeded, Overloaded):
                if not may_degrade(request):
                    raise
                if (near := self._find_nearest(request, product, taste, watch)) is not None:
                    return near
        with watch.stage("compose"):
            creatives = await self._compose(request, product, sampled)
        with watch.stage("encode"):
            seeds = [row.seed for row in rows]
            images = await self._encode(creatives, seeds, request.output)
        result = self._seal(request, assignment, taste, model, rows, sampled, images, watch)
        self._remember(request, product, taste, result)
        return result

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

    async def _prepare(
        self, request: ImageRequest, model: ImageModel, features: Product | None
    ) -> PreparedProduct:
        if (shelf := self._shelves.get(model)) is None:
            # A shelf that held its model would keep it in memory after it was exchanged.
            shelf = self._shelves[model] = ProductShelf(proxy(model), self._encoders)
        ratio = request.output.aspect_ratio
        try:
            if features is not None:
                if (found := shelf.find(features, request.locale, ratio)) is not None:
                    return found
                return await self._run(shelf.prepare, features, request.locale, ratio)
            assert isinstance(request.product, InlineProduct)
            return await self._run(shelf.prepare_inline, request.product, ratio)
        except ValueError as error:
            if features is not None:
                raise Unavailable("its packshot can't be read", "PACKSHOT_UNAVAILABLE") from error
            raise InvalidRequest(Violation("inline_product.packshot", str(error))) from error

    async def _load_style(self, request: ImageRequest, model: ImageModel, taste: Taste) -> object:
        if not (name := choose_style(request, taste, model)):
            return None
        if name not in model.styles:
            known = ", ".join(model.styles) or "it has none"
            raise InvalidRequest(Violation("style", f"{name[:40]!r} is no style of it: {known}"))
        try:
            return await self._run(model.load_style, name)
        except NoRoom as error:
            raise Overloaded(MIN_WAIT_S) from error

    async def _sample(
        self,
        request: ImageRequest,
        model: ImageModel,
        rows: Sequence[RowRequest],
        plan: Callable[..., Sequence[RowRequest]],
        watch: Stopwatch,
        on_event: Listener | None,
    ) -> Sampled:
        """Raises Overloaded or DeadlineExceeded where the deadline can't be, or was not, met."""
        num_steps = find_steps(rows, request, self._router, self._defaults)
        if num_steps < rows[0].plan[-1].step:
            rows = plan(num_steps=num_steps)
        with ExitStack() as stack:
            news = None
            if on_event is not None:
                decode, side = model.decode, request.preview_side
                news = News(side, num_steps, decode, self._workers, on_event)
                stack.callback(news.close)
            ticket = self._router.submit(rows, news.step if news else None)
            stack.callback(ticket.release)
            if on_event is not None:
                on_event(Accepted())
            pixels = await ticket.result
        watch.note(queue=ticket.queue_s, sample=ticket.sample_s, decode=ticket.decode_s)
        return Sampled(rows, pixels, ticket.num_forward_rows, ticket.num_steps_shared)

    def _find_nearest(
        self, request: ImageRequest, product: PreparedProduct, taste: Taste, watch: Stopwatch
    ) -> ImageResult | None:
        """An earlier answer for the nearest taste, where one was kept."""
        key = self._name(request, product)
        if key is None or (found := self._nearest.find(key, point(taste, product))) is None:
            return None
        return replace(
            found[0],
            source=Source.CACHE,
            degradation=Degradation.NEAREST_TASTE,
            personalization=taste.account,
            timings_s=watch.timings_s,
            request_id=request.request_id,
        )

    def _remember(
        self, request: ImageRequest, product: PreparedProduct, taste: Taste, result: ImageResult
    ) -> None:
        key = self._name(request, product)
        if key is not None and result.degradation is Degradation.NONE:
            self._nearest.keep(key, point(taste, product), result)

    def _name(self, request: ImageRequest, product: PreparedProduct) -> Hashable | None:
        """What two answers must agree on, but for the shopper; None for what is not kept."""
        if not isinstance(request.product, str):
            return None
        asked = request.mode, request.output, request.num_images, request.style
        return product.condition.digest, request.model or QUALITY, *asked

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
        model: ImageModel,
        rows: Sequence[RowRequest],
        sampled: Sampled | None,
        images: Sequence[EncodedImage],
        watch: Stopwatch,
    ) -> ImageResult:
        is_asked = assignment.arm is Arm.ORIGINAL
        packshot = ImageResult(
            images=tuple(images),
            source=Source.ORIGINAL,
            personalization=taste.account,
            arm=assignment.arm,
            model=None,
            sampler=None,
            steps=0,
            timings_s=watch.timings_s,
            request_id=request.request_id,
            degradation=Degradation.NONE if is_asked else Degradation.ORIGINAL,
        )
        if sampled is None:
            return packshot
        is_whole = sampled.num_steps == rows[0].plan[-1].step
        return replace(
            packshot,
            source=Source.GENERATED,
            model=ModelCard(model.name, model.digest),
            sampler=request.sampler or SamplerName(model.preset.sampler),
            steps=sampled.num_steps,
            degradation=Degradation.NONE if is_whole else Degradation.FEWER_STEPS,
            num_forward_rows=sampled.num_forward_rows,
            num_shared_steps=sampled.num_shared_steps,
            warnings=rows[0].warnings,
            style=choose_style(request, taste, model),
        )

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """Pixel work, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)
