"""A request becomes rows: one per image, each complete in itself."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffusion.fusion import Vector
from diffusion.image_model import ImageModel, ShopperFacts, Wish
from diffusion.noise import MAX_SEED, derive_seed
from server.core import Arm, DeadlinePolicy, ImageRequest, Mode
from server.errors import DeadlineExceeded, Overloaded
from server.experiments.assignment import Assignment
from server.imaging.verification import LIMITS, Limits
from server.personalization import Taste
from server.products import PreparedProduct
from server.sampling.admission import Demand
from server.sampling.router import Router
from server.sampling.row import RowRequest

SLATE_PAUSE_S = 0.006
"""From the deadline of one product of a slate to the next: in that time an original is shown."""

CREATED_DIVERSITY = 0.5
"""Of the images of a new creation, where nothing is said."""

MIN_WAIT_S = 0.05
"""Before a refused request is asked again, at least."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request that says nothing gets whatever its model, what nobody gets more of, and what
    an image has to be. Images are kept for as long as all of it stays the same."""

    min_steps: int = 4
    strength: float = 0.5
    max_reuse_error: float = 0.08
    max_tries: int = 2
    """For an image that fails verification."""
    limits: Limits = LIMITS
    safety: str = ""
    """Which check of pictures there is, and how it is set."""
    seal: str = ""
    """Who signs images, and with which mark."""
    nearest_bytes: int = 64 * 1024 * 1024
    """Of finished creatives, kept to meet deadlines with."""
    read_timeout_s: float = 0.25
    finish_s: float = 0.035
    """Kept back from the deadline for decoding, composing and encoding, once and for each image."""


def plan_rows(
    request: ImageRequest,
    assignment: Assignment,
    taste: Taste,
    product: PreparedProduct,
    model: ImageModel,
    defaults: Defaults,
    style: object = None,
    num_steps: int | None = None,
    seeds: Sequence[int] | None = None,
) -> list[RowRequest]:
    """The rows of one request, one for each seed, its own unless `seeds` says otherwise, and of as
    many steps as it asks for unless `num_steps` does.

    `style` is what the model loaded under that name.
    """
    shopper = know_shopper(taste, product)
    wish = make_wish(request, assignment, style, num_steps)
    deadline_s = find_deadline_s(request, defaults)
    max_reuse_error = defaults.max_reuse_error if request.reuse_predictions else 0.0
    rows = []
    for seed in seeds or choose_seeds(request, taste, product):
        route = model.plan(product.condition, shopper, wish, seed)
        row = RowRequest.along(route, model.name, seed, deadline_s, max_reuse_error)
        is_first = request.slate_rank == 0
        rows.append(replace(row, is_background=request.is_background, is_first=is_first))
    return rows


def make_wish(
    request: ImageRequest, assignment: Assignment, style: object, num_steps: int | None = None
) -> Wish:
    diversity = request.diversity
    if diversity is None:
        diversity = CREATED_DIVERSITY if request.mode is Mode.CREATE else 0.0
    return Wish(
        request.mode.value,
        request.sampler and request.sampler.value,
        num_steps or request.steps,
        request.sigmas and request.sigmas.value,
        request.product_scale,
        assignment.strength,
        style,
        1.0 if request.style else assignment.strength,
        request.scene,
        diversity,
    )


def find_deadline_s(request: ImageRequest, defaults: Defaults) -> float | None:
    """When the last pixel must be sampled. Of a slate the best are due first."""
    if request.deadline_s is None:
        return None
    deadline_s = request.deadline_s - (1 + request.num_images) * defaults.finish_s
    if request.slate_rank is None:
        return deadline_s
    return deadline_s - (request.slate_size - request.slate_rank) * SLATE_PAUSE_S


def choose_style(request: ImageRequest, taste: Taste, model: ImageModel) -> str:
    """The one that is asked for, or the one for the shopper; empty for none."""
    if request.style or taste.shopper is None:
        return request.style
    return model.choose_style(taste.shopper.interests)


def know_shopper(taste: Taste, product: PreparedProduct) -> ShopperFacts | None:
    """Who they are when shown this product, and which taste they have when shown none."""
    if taste.shopper is None:
        return None
    vector = taste.shopper.embed(product.condition.image_embedding)
    direction = point(taste)
    if vector is None or direction is None:
        return None
    return ShopperFacts(vector, direction, taste.shopper.interests)


def point(taste: Taste) -> Vector | None:
    """Which way a shopper's taste points when shown no product; None for nobody."""
    return None if taste.shopper is None else taste.shopper.embed()


def choose_seeds(request: ImageRequest, taste: Taste, product: PreparedProduct) -> list[int]:
    """Those of the request, or such by which a shopper sees the same image again.

    The seeds of a generic image know nothing of who asked for it, or why it is generic. The
    products of a slate have one seed: they share scene and work.
    """
    numbers = range(request.num_images)
    if request.seed is not None:
        return [(request.seed + number) & MAX_SEED for number in numbers]
    arm = Arm.GENERIC if taste.shopper is None else Arm.PERSONALIZED
    name = product.name if request.slate_rank is None else "slate"
    return [derive_seed(name, arm.value, str(number)) for number in numbers]


def may_degrade(request: ImageRequest) -> bool:
    return request.deadline_policy is DeadlinePolicy.DEGRADE


def find_steps(
    rows: Sequence[RowRequest],
    request: ImageRequest,
    router: Router,
    defaults: Defaults,
    *,
    is_retry: bool = False,
) -> int:
    """How many steps can be done in time: as many as are asked for, or fewer where allowed. Nothing
    is refused where there `is_retry`: there is an answer without it.

    Raises Overloaded where only others are in the way, DeadlineExceeded where nothing helps.
    """
    num_steps = rows[0].plan[-1].step
    if rows[0].deadline_s is None:
        return num_steps
    engine = router.rank(rows)[0]
    forecast, demands = engine.forecast(), engine.demand(rows)
    if forecast.admits(demands):
        return num_steps
    if may_degrade(request):
        floor = min(defaults.min_steps, num_steps)
        fewer = range(num_steps - 1, floor - 1, -1)  # the more the better: the first that fits
        fits = bisect_left(
            fewer, True, key=lambda n: forecast.admits(shorten(demands, n / num_steps))
        )
        if fits < len(fewer):
            return fewer[fits]
    if not is_retry:
        engine.observer.refused("deadline")
    wait_s = forecast.retry_after_s(demands)
    if math.isfinite(wait_s) and not request.is_background:
        router.note_refusal()
    if math.isfinite(wait_s) and not may_degrade(request):
        raise Overloaded(max(wait_s, MIN_WAIT_S))
    raise DeadlineExceeded("the deadline is nearer than the sampling is long")


def shorten(demands: Sequence[Demand], share: float) -> list[Demand]:
    return [
        replace(
            demand,
            num_ticks_left=math.ceil(share * demand.num_ticks_left),
            num_forward_rows_left=math.ceil(share * demand.num_forward_rows_left),
        )
        for demand in demands
    ]
