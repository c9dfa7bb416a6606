"""A request becomes rows: one per image, each complete in itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffusion.fusion import fuse
from diffusion.guidance import Guidance
from diffusion.model import ProductDiffusion
from diffusion.noise import MAX_SEED, derive_seed
from diffusion.samplers import SAMPLERS, Plan
from server.core import Arm, DeadlinePolicy, ImageRequest
from server.errors import DeadlineExceeded, Overloaded
from server.experiments import Assignment
from server.personalization import Taste
from server.products import PreparedProduct
from server.sampling.engine import Engine
from server.sampling.row import RowRequest


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request that says nothing gets, and what nobody gets more of."""

    num_steps: int = 20
    min_steps: int = 4
    product_scale: float = 1.0
    strength: float = 0.5
    max_shopper_scale: float = 2.0
    read_timeout_s: float = 0.25
    finish_s: float = 0.06
    """Kept back from the deadline for decoding, composing and encoding, once and for each image."""


def plan_rows(
    request: ImageRequest,
    assignment: Assignment,
    taste: Taste,
    product: PreparedProduct,
    model: ProductDiffusion,
    defaults: Defaults,
) -> list[RowRequest]:
    """The seeds of a generic image know nothing of who asked for it, or why it is generic."""
    product_scale = defaults.product_scale
    if request.product_scale is not None:
        product_scale = request.product_scale
    arm, shopper_scale, shopper = Arm.GENERIC, 0.0, None
    if taste.shopper is not None:
        arm, shopper_scale = Arm.PERSONALIZED, assignment.strength * defaults.max_shopper_scale
        shopper = taste.shopper.embed(product.condition.image_embedding)
    row = RowRequest(
        seed=0,
        plan=plan_steps(request, model, request.steps or defaults.num_steps),
        guidance=Guidance(product_scale, shopper_scale),
        conditions=fuse(product.condition, shopper, request.mode.value),
        deadline_s=request.deadline_s
        and request.deadline_s - (1 + request.num_images) * defaults.finish_s,
    )
    seeds = (choose_seed(request.seed, product, arm, i) for i in range(request.num_images))
    return [replace(row, seed=seed) for seed in seeds]


def plan_steps(request: ImageRequest, model: ProductDiffusion, num_steps: int) -> Plan:
    return SAMPLERS[request.sampler.value](model.sigmas(num_steps))


def choose_seed(seed: int | None, product: PreparedProduct, arm: Arm, number: int) -> int:
    """That of the request, or one by which a shopper sees the same image again."""
    if seed is None:
        return derive_seed(product.name, arm.value, str(number))
    return (seed + number) & MAX_SEED


def may_degrade(request: ImageRequest) -> bool:
    return request.deadline_policy is DeadlinePolicy.DEGRADE


def fit_deadline(
    rows: Sequence[RowRequest],
    request: ImageRequest,
    engine: Engine,
    model: ProductDiffusion,
    defaults: Defaults,
) -> list[RowRequest]:
    """The rows as they are where they can be done in time, else with fewer steps where allowed.

    Raises Overloaded where only others are in the way, DeadlineExceeded where nothing helps.
    """
    deadline_s = rows[0].deadline_s
    if deadline_s is None:
        return list(rows)
    left_s, wanted_s = deadline_s - time.monotonic(), engine.predict_s(rows)
    if wanted_s <= left_s:
        return list(rows)
    num_steps = int(rows[0].plan[-1].step * left_s / wanted_s)
    if may_degrade(request) and num_steps >= defaults.min_steps:
        plan = plan_steps(request, model, num_steps)
        return [replace(row, plan=plan) for row in rows]
    engine.observer.refused("deadline")
    num_forward_rows = sum(len(row.guidance.terms) for row in rows)
    alone_s = engine.pace.predict_s(len(rows[0].plan), num_forward_rows)
    if alone_s <= left_s and not may_degrade(request):
        raise Overloaded(wanted_s - left_s)
    raise DeadlineExceeded("the deadline is nearer than the sampling is long")
