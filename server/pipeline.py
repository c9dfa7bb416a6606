"""The way of a request, told once. Every door walks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary, proxy

from diffusion.encoders import Encoders
from diffusion.image_model import ImageModel
from features.records import Product, Products, Shopper
from server.commission import Commission, find_proportions
from server.core import (
    Answer,
    Arm,
    Degradation,
    EncodedImage,
    ImageRequest,
    ImageResult,
    InlineProduct,
    SamplerName,
    Source,
)
from server.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    Overloaded,
    Unavailable,
    Violation,
)
from server.experiments import Assignment, assign
from server.finishing import Delivered, check_layout_fits, deliver
from server.image_cache.cache import ImageCache
from server.imaging.encode import encode, show_packshot
from server.nearest import NearestTaste
from server.news import Listener
from server.personalization import Taste, decide
from server.products import PreparedProduct, ProductShelf
from server.revision import Revision
from server.rows import Defaults, find_deadline_s, may_degrade, point
from server.rulebook import Rulebook
from server.stopwatch import Stopwatch
from server.studio import Creation, Studio

DEFAULT_MAP_SIDE = 256

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


class Pipeline:
    def __init__(
        self,
        reader: Reader,
        models: Models,
        encoders: Encoders,
        rules: Rulebook,
        studio: Studio,
        cache: ImageCache,
        workers: Executor,
        defaults: Defaults | None = None,
    ) -> None:
        """`encoders` are those that the features were made with."""
        self._reader, self._models, self._encoders = reader, models, encoders
        self._rules, self._studio, self._cache = rules, studio, cache
        self._workers, self._defaults = workers, defaults or Defaults()
        self._shelves: WeakKeyDictionary[ImageModel, ProductShelf] = WeakKeyDictionary()
        self._nearest = NearestTaste(self._defaults.nearest_bytes)

    async def generate(
        self, request: ImageRequest, on_event: Listener | None = None
    ) -> ImageResult:
        """Answers one request; cancelling the awaiting task frees what it holds.

        Raises server.errors.EtalageError, features.records.ProductUnknown or FeaturesUnavailable.
        """
        watch = Stopwatch()
        with self._models.lease(request.model) as revision:
            commission = await self._accept(request, revision.model(), watch)
            result = await self._answer(commission, revision, watch, on_event)
            if request.is_explained and result.source is not Source.ORIGINAL:
                seed, explain = result.images[0].seed, self._studio.explain
                explanation = await explain(commission, seed, DEFAULT_MAP_SIDE, watch)
                result = replace(result, explanation=explanation)
        return replace(
            result,
            personalization=commission.taste.account,
            timings_s=watch.timings_s,
            request_id=request.request_id,
        )

    async def explain(self, request: ImageRequest, map_side: int) -> Answer:
        """Why the image of a request looks as it does; raises what `generate` does."""
        watch = Stopwatch()
        with self._models.lease(request.model) as revision:
            commission = await self._accept(request, revision.model(), watch)
            seed, explain = commission.seeds[0], self._studio.explain
            explanation = await explain(commission, seed, map_side, watch)
        account, arm = commission.taste.account, commission.assignment.arm
        return Answer(explanation, account, arm, commission.card)

    async def _accept(
        self, request: ImageRequest, model: ImageModel, watch: Stopwatch
    ) -> Commission:
        """Who asks, for what, and what market and brand make of it."""
        agreed = self._rules.agree(request)
        assignment = assign(request, self._defaults.strength)
        with watch.stage("read"):
            taste, features = await self._read(request, assignment)
        with watch.stage("fuse"):
            product = await self._prepare(agreed.request, model, features)
        commission = Commission(agreed, assignment, taste, model, product)
        if request.layout is not None:
            check_layout_fits(request.layout, commission)
        return commission

    async def _answer(
        self,
        commission: Commission,
        revision: Revision,
        watch: Stopwatch,
        on_event: Listener | None,
    ) -> ImageResult:
        """An image that is kept, one made for all who ask now, or what the deadline leaves."""
        request = commission.request
        if commission.assignment.arm is Arm.ORIGINAL:
            return await self._show_original(commission, watch)
        try:
            return await self._cache.answer(
                commission.name(self._reader.fingerprint, self._defaults),
                request.cache_policy,
                partial(self._make, commission, revision, watch, on_event),
                request.deadline_s,
                may_degrade(request),
                find_deadline_s(request, self._defaults) if may_degrade(request) else None,
                on_event,
            )
        except (DeadlineExceeded, Overloaded):
            if not may_degrade(request):
                raise
            return self._find_nearest(commission) or await self._show_original(commission, watch)

    async def _make(
        self,
        commission: Commission,
        revision: Revision,
        watch: Stopwatch,
        on_event: Listener | None,
        deadline_s: float | None,
    ) -> ImageResult:
        """The images of a commission; `deadline_s` is the latest among those who wait for them."""
        commission = commission.due(deadline_s)
        with revision.held():  # whoever asked first may be gone before it is made
            creation = await self._studio.create(commission, watch, on_event)
        with watch.stage("encode"):
            delivered = await self._deliver(commission, creation)
        result = self._seal(commission, creation, delivered)
        self._remember(commission, result)
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
        locale, ratio = request.locale, find_proportions(request)
        try:
            if features is not None:
                if (found := shelf.find(features, locale, ratio)) is not None:
                    return found
                return await self._run(shelf.prepare, features, locale, ratio)
            assert isinstance(request.product, InlineProduct)
            return await self._run(shelf.prepare_inline, request.product, locale, ratio)
        except ValueError as error:
            if features is not None:
                raise Unavailable("its packshot can't be read", "PACKSHOT_UNAVAILABLE") from error
            raise InvalidRequest(Violation("inline_product.packshot", str(error))) from error

    async def _deliver(self, commission: Commission, creation: Creation) -> list[Delivered]:
        """Texts set, and files made; the merchant's own picture where there is nothing better."""
        original = await self._encode_original(commission) if creation.missing else None
        made = [picture for picture in creation.pictures if picture is not None]
        files = iter(await asyncio.gather(*(self._run(deliver, each, commission) for each in made)))
        return [
            Delivered(replace(original, seed=seed)) if picture is None and original else next(files)
            for seed, picture in zip(creation.seeds, creation.pictures, strict=True)
        ]

    def _seal(
        self, commission: Commission, creation: Creation, delivered: Sequence[Delivered]
    ) -> ImageResult:
        images = [each.image for each in delivered]
        unwritten = dict.fromkeys(text for each in delivered for text in each.warnings)
        is_original = all(image.is_original for image in images)
        request, model = commission.request, commission.model
        return replace(
            self._account(commission, images),
            source=Source.ORIGINAL if is_original else Source.GENERATED,
            model=commission.card,
            sampler=request.sampler or SamplerName(model.preset.sampler),
            steps=creation.num_steps,
            degradation=Degradation.NONE if creation.is_whole else Degradation.FEWER_STEPS,
            num_forward_rows=creation.num_forward_rows,
            num_shared_steps=creation.num_shared_steps,
            warnings=(*commission.warnings, *creation.warnings, *unwritten),
            style=commission.style,
            tries=tuple(creation.tries),
        )

    def _account(self, commission: Commission, images: Sequence[EncodedImage]) -> ImageResult:
        """What is true of every result of a commission, for one that shows the packshot."""
        return ImageResult(
            images=tuple(images),
            source=Source.ORIGINAL,
            personalization=commission.taste.account,
            arm=commission.assignment.arm,
            model=None,
            sampler=None,
            steps=0,
            timings_s={},
            warnings=commission.warnings,
            title_language=commission.product.title.language,
        )

    async def _show_original(self, commission: Commission, watch: Stopwatch) -> ImageResult:
        """The packshot, encoded once however many images are asked for."""
        with watch.stage("encode"):
            original = await self._encode_original(commission)
        is_asked = commission.assignment.arm is Arm.ORIGINAL
        return replace(
            self._account(commission, [replace(original, seed=s) for s in commission.seeds]),
            degradation=Degradation.NONE if is_asked else Degradation.ORIGINAL,
        )

    async def _encode_original(self, commission: Commission) -> EncodedImage:
        cutout, output = commission.product.cutout, commission.request.output
        if cutout is None:
            text = "no picture was good enough, and the product has no packshot to show instead"
            raise FailedPrecondition(text, "NO_PACKSHOT")
        pixels = await self._run(show_packshot, cutout, output.longest_side)
        return replace(await self._run(encode, pixels, output), is_original=True)

    def _find_nearest(self, commission: Commission) -> ImageResult | None:
        """An earlier answer for the nearest taste, where one was kept."""
        taste = point(commission.taste, commission.product)
        if (found := self._nearest.find(commission.name_kind(), taste)) is None:
            return None
        return replace(found[0], source=Source.CACHE, degradation=Degradation.NEAREST_TASTE)

    def _remember(self, commission: Commission, result: ImageResult) -> None:
        is_good = not any(image.is_original for image in result.images)
        is_known = isinstance(commission.request.product, str)
        if is_known and is_good and result.degradation is Degradation.NONE:
            taste = point(commission.taste, commission.product)
            self._nearest.keep(commission.name_kind(), taste, result)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """Pixel work, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)
