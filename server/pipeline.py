"""The way of a request, told once. Every door walks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary, proxy

from diffusion.encoders import Encoders
from diffusion.finding import FindMatte
from diffusion.image_model import ImageModel
from features.records import Product, Products, Shopper
from server.commission import Commission, find_proportions
from server.core import (
    Answer,
    Arm,
    Degradation,
    ImageRequest,
    ImageResult,
    InlineProduct,
    Source,
)
from server.errors import (
    DeadlineExceeded,
    EtalageError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    SamplingFailed,
    Unavailable,
    Violation,
)
from server.experiments.assignment import Assigned, Assignment, apply, assign
from server.explanation import UNMADE
from server.finishing import Delivered, check_layout_fits, deliver, seal, show_original
from server.image_cache.cache import ImageCache
from server.image_cache.stored import is_worth_keeping
from server.nearest import NearestTaste
from server.news import Listener
from server.personalization import Taste, decide
from server.products import CutoutShelf, InlineUnusable, PreparedProduct, ProductShelf
from server.provenance.sealing import UNSEALED, Sealer
from server.revision import Revision
from server.rows import Defaults, find_deadline_s, may_degrade, point
from server.rulebook import Rulebook
from server.stopwatch import Stopwatch
from server.studio import Creation, Studio
from server.telling import tell, tell_original

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


class Trials(Protocol):
    """What the pipeline asks of experiments/trials.py."""

    async def assign(self, request: ImageRequest, default_strength: float) -> Assignment: ...

    def settle(self, assignment: Assignment, shopper: Shopper | None) -> Assignment: ...

    def stamp(self, assigned: Assigned, result: ImageResult, latency_s: float) -> ImageResult: ...

    def note_refusal(self, assigned: Assigned, latency_s: float) -> None: ...


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
        find_matte: FindMatte | None = None,
        sealer: Sealer = UNSEALED,
    ) -> None:
        """`encoders` are those that the features were made with; `find_matte` sees products before
        grounds that are not plain, `sealer` says of images where they come from."""
        self._reader, self._models, self._encoders = reader, models, encoders
        self._rules, self._studio, self._cache = rules, studio, cache
        self._workers, self._defaults = workers, defaults or Defaults()
        self._sealer = sealer
        self._trials: Trials | None = None
        self._name_maker: Callable[[str], str] = lambda _: ""
        self._cutouts = CutoutShelf(find_matte)
        self._shelves: WeakKeyDictionary[ImageModel, ProductShelf] = WeakKeyDictionary()
        self._nearest = NearestTaste(self._defaults.nearest_bytes)

    def join(self, trials: Trials) -> None:
        """Take part in experiments from now on."""
        self._trials = trials

    def name_makers(self, name: Callable[[str], str]) -> None:
        """Keep images under a name of whose embedding is in them, so that `forget` finds them."""
        self._name_maker = name

    async def forget(self, maker: str, *, is_shared: bool = True) -> Mapping[str, int]:
        """Drops the images that were made of one shopper's embedding, and what is kept of walks,
        everybody's; how many of each. Where `is_shared`, off the shelf too. Raises ShelfFailed."""
        num_tastes = self._nearest.forget(maker)
        num_walks = self._studio.forget_walks()
        num_images = await self._cache.forget(maker, is_shared=is_shared)
        return {"image_cache": num_images, "nearest_tastes": num_tastes, "shared_walks": num_walks}

    async def generate(
        self, request: ImageRequest, on_event: Listener | None = None
    ) -> ImageResult:
        """Answers one request; cancelling the awaiting task frees what it holds.

        Raises server.errors.EtalageError, features.records.ProductUnknown or FeaturesUnavailable.
        """
        watch = Stopwatch()
        assigned = await self._assign(request, watch)
        watch.trace(assign=watch.total_s)
        with (
            self._counting(assigned, watch),
            self._models.lease(assigned.request.model) as revision,
        ):
            commission = await self._accept(assigned, revision.model(), watch)
            result = await self._answer(commission, revision, watch, on_event)
            if request.is_explained:
                result = await self._add_explanation(commission, result, watch)
        result = replace(
            result,
            personalization=commission.taste.account,
            warnings=(*result.warnings, *commission.warnings_for_asker),
            timings_s=watch.timings_s,
            request_id=request.request_id,
        )
        if self._trials is None or request.is_background:
            return result
        return self._trials.stamp(assigned, result, watch.total_s)

    async def explain(self, request: ImageRequest, map_side: int) -> Answer:
        """Why the image of a request looks as it does; raises what `generate` does."""
        watch = Stopwatch()
        assigned = await self._assign(request, watch)
        with self._models.lease(assigned.request.model) as revision:
            commission = await self._accept(assigned, revision.model(), watch)
            account, arm = commission.taste.account, commission.assignment.arm
            if arm is Arm.ORIGINAL:
                return Answer(UNMADE, account, arm, None)
            seed, explain = commission.seeds[0], self._studio.explain
            explanation = await explain(commission, seed, map_side, watch)
        return Answer(explanation, account, arm, commission.card)

    async def _assign(self, request: ImageRequest, watch: Stopwatch) -> Assigned:
        """Which arm answers, before anything is read but where an experiment is for shoppers of
        certain features. What nobody waits for is made by no experiment."""
        strength = self._defaults.strength
        if self._trials is None or request.is_background:
            return Assigned(request, assign(request, strength))
        assignment, shopper = await self._trials.assign(request, strength), None
        if assignment.pending is not None:
            with watch.stage("read"):
                timeout_s = self._find_timeout_s(request)
                shopper, _ = await self._reader.read(request.user_id, (), timeout_s=timeout_s)
            assignment = self._trials.settle(assignment, shopper)
        return Assigned(apply(request, assignment), assignment, shopper)

    @contextmanager
    def _counting(self, assigned: Assigned, watch: Stopwatch) -> Iterator[None]:
        """Who is refused counts for their arm: else a slow one would look better than it is."""
        try:
            yield
        except (DeadlineExceeded, ModelNotFound, Overloaded, SamplingFailed, Unavailable):
            if self._trials is not None:
                self._trials.note_refusal(assigned, watch.total_s)
            raise

    async def _accept(self, assigned: Assigned, model: ImageModel, watch: Stopwatch) -> Commission:
        """Who asks, for what, and what market and brand make of it."""
        request, assignment = assigned.request, assigned.assignment
        agreed = self._rules.agree(request)
        with watch.stage("read"):
            taste, features = await self._read(request, assignment)
        with watch.stage("fuse"):
            product = await self._prepare(agreed.request, model, features)
        self._rules.check_title(product.title.text, agreed)
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
                partial(self._make, commission, revision, watch),
                request.deadline_s,
                may_degrade(request),
                find_deadline_s(request, self._defaults) if may_degrade(request) else None,
                request.is_background,
                on_event,
                request.preview_side,
            )
        except (DeadlineExceeded, Overloaded):
            if not may_degrade(request):
                raise
            return self._find_nearest(commission) or await self._show_original(commission, watch)

    async def _add_explanation(
        self, commission: Commission, result: ImageResult, watch: Stopwatch
    ) -> ImageResult:
        """Of the first image that was made for this taste; never at the price of the images."""
        seeds = [image.seed for image in result.images if not image.is_original]
        if not seeds or result.degradation is Degradation.NEAREST_TASTE:
            return result
        try:
            told = await self._studio.explain(commission, seeds[0], DEFAULT_MAP_SIDE, watch)
        except EtalageError as error:
            return replace(result, warnings=(*result.warnings, f"not explained: {error}"))
        return replace(result, explanation=told)

    async def _make(
        self,
        commission: Commission,
        revision: Revision,
        watch: Stopwatch,
        deadline_s: float | None,
        on_event: Listener | None,
    ) -> ImageResult:
        """The images of a commission; `deadline_s` is the latest among those who wait for them."""
        commission = commission.due(deadline_s)
        with revision.held():  # whoever asked first may be gone before it is made
            creation = await self._studio.create(commission, watch, on_event)
        with watch.stage("encode"):
            delivered = await self._deliver(commission, creation)
        with watch.stage("seal"):
            delivered = await self._seal(commission, creation, delivered)
        result = replace(tell(commission, creation, delivered), maker=self._find_maker(commission))
        self._remember(commission, result)
        return result

    async def _read(
        self, request: ImageRequest, assignment: Assignment
    ) -> tuple[Taste, Product | None]:
        user_id = request.user_id if assignment.wants_shopper else None
        product_ids = [request.product] if isinstance(request.product, str) else []
        shopper, products = await self._reader.read(
            user_id or None, product_ids, timeout_s=self._find_timeout_s(request)
        )
        service, fingerprint = self._reader.service, self._reader.fingerprint
        taste = decide(assignment, request.user_id, shopper, service, fingerprint)
        if not isinstance(request.product, str):
            return taste, None
        found = products[request.product]
        if isinstance(found, Exception):
            raise found
        return taste, found

    def _find_timeout_s(self, request: ImageRequest) -> float:
        timeout_s = self._defaults.read_timeout_s
        if request.deadline_s is None:
            return timeout_s
        return min(timeout_s, max(0.0, request.deadline_s - time.monotonic()))

    async def _prepare(
        self, request: ImageRequest, model: ImageModel, features: Product | None
    ) -> PreparedProduct:
        if (shelf := self._shelves.get(model)) is None:
            # A shelf that held its model would keep it in memory after it was exchanged.
            shelf = ProductShelf(proxy(model), self._encoders, self._cutouts)
            self._shelves[model] = shelf
        locale, ratio = request.locale, find_proportions(request)
        try:
            if features is not None:
                if (found := shelf.find(features, locale, ratio)) is not None:
                    return found
                return await self._run(shelf.prepare, features, locale, ratio)
            assert isinstance(request.product, InlineProduct)
            return await self._run(shelf.prepare_inline, request.product, locale, ratio)
        except InlineUnusable as error:
            violation = Violation(f"inline_product.{error.field}", str(error))
            raise InvalidRequest(violation) from error
        except ValueError as error:
            if features is None:
                raise
            raise Unavailable("its packshot can't be read", "PACKSHOT_UNAVAILABLE") from error

    async def _deliver(self, commission: Commission, creation: Creation) -> list[Delivered]:
        """Texts set, and files made. Where no try was good enough it is the merchant's own picture,
        and nothing where there is none but other images are good."""
        made = [picture for picture in creation.pictures if picture is not None]
        original = None
        if creation.missing and (commission.product.packshot is not None or not made):
            original = await self._run(show_original, commission)
        files = await asyncio.gather(
            *(self._run(deliver, each, commission, self._sealer) for each in made)
        )
        rest, delivered = iter(files), []
        for seed, picture in zip(creation.seeds, creation.pictures, strict=True):
            if picture is not None:
                delivered.append(next(rest))
            elif original is not None:
                delivered.append(original.of(seed))
        return delivered

    async def _seal(
        self, commission: Commission, creation: Creation, delivered: Sequence[Delivered]
    ) -> list[Delivered]:
        """Whoever gets it, now or from the cache, gets this very file."""
        sealed = partial(
            seal, commission=commission, num_steps=creation.num_steps, sealer=self._sealer
        )
        return await asyncio.gather(*(self._run(sealed, each) for each in delivered))

    async def _show_original(self, commission: Commission, watch: Stopwatch) -> ImageResult:
        with watch.stage("encode"):
            original = await self._run(show_original, commission)
        return tell_original(commission, original)

    def _find_nearest(self, commission: Commission) -> ImageResult | None:
        """An earlier answer for the nearest taste, where one was kept."""
        taste = point(commission.taste)
        if (found := self._nearest.find(commission.name_kind(), taste)) is None:
            return None
        return replace(found[0], source=Source.CACHE, degradation=Degradation.NEAREST_TASTE)

    def _find_maker(self, commission: Commission) -> str:
        """Nobody of an image that is generic."""
        if commission.taste.shopper is None:
            return ""
        return self._name_maker(commission.request.user_id)

    def _remember(self, commission: Commission, result: ImageResult) -> None:
        if isinstance(commission.request.product, str) and is_worth_keeping(result):
            taste = point(commission.taste)
            self._nearest.keep(commission.name_kind(), taste, result)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """Pixel work, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)
