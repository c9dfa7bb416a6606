"""A walk from noise to image, told before it begins: what is evaluated in which of its ticks.

Each condition acts in its own interval of sigma, as part of a model's definition: the broad lines
of a picture are drawn before its details, and what is drawn first can be the same for many. A walk
falls into segments in which the same terms are evaluated; walks whose keys agree up to the end of a
segment are the same walk up to there, to the last bit.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from diffusion.denoiser import Conditions
from diffusion.fusion import ProductCondition, ShopperCondition, Vector, fuse
from diffusion.guidance import Given, Guidance
from diffusion.samplers import Plan, Tick
from diffusion.taste_buckets import TasteBuckets


@dataclass(frozen=True, slots=True)
class Intervals:
    """The largest sigma at which product and shopper are known, and the interval in which a product
    scale other than 1 acts (Kynkäänniemi et al., 2024).

    Above `product` there is no product; above `shopper` the centroid of the shopper's taste bucket
    stands for the shopper.
    """

    product: float = math.inf
    shopper: float = math.inf
    guidance: tuple[float, float] = (0.0, math.inf)


@dataclass(frozen=True, slots=True)
class Term:
    """One forward row: what it is given to know, and the weight of its prediction."""

    cond: Conditions
    weight: float


@dataclass(frozen=True, slots=True)
class Segment:
    """Ticks up to `stop` in which the same terms are evaluated.

    `key` digests all that the walk depends on up to `stop`, the seed included.
    """

    stop: int
    terms: tuple[Term, ...]
    key: bytes


Walk = tuple[Segment, ...]


def find_terms(walk: Walk, tick: int) -> tuple[Term, ...]:
    """What is evaluated in this tick, the first being 0."""
    return next(segment.terms for segment in walk if tick < segment.stop)


@dataclass(frozen=True)
class Rules:
    """How a model walks: intervals by task, everything known everywhere for a task that has none,
    and the taste buckets whose centroids stand for shoppers."""

    intervals: Mapping[str, Intervals] = field(default_factory=dict)
    buckets: TasteBuckets | None = None

    def without_intervals(self) -> Rules:
        return Rules()

    def know(
        self, vector: Vector, taste: Vector, chosen: Sequence[int | None] | None = None
    ) -> ShopperCondition:
        """A shopper by who they are when shown the product, and when shown none: each [w]; with
        another choice on each axis of taste that has one in `chosen`."""
        if self.buckets is None:
            return ShopperCondition(vector)
        centroid = self.buckets.find_centroid(taste)
        if chosen is None:
            return ShopperCondition(vector, centroid)
        if centroid is not None:  # or a choice would make somebody known who is not
            centroid = self.buckets.find_centroid(self.buckets.steer(taste, chosen))
        return ShopperCondition(self.buckets.steer(vector, chosen), centroid)

    def plan(
        self,
        product: ProductCondition,
        shopper: ShopperCondition | None,
        task: str,
        guidance: Guidance,
        plan: Plan,
        seed: int,
        look: Vector | None = None,
    ) -> Walk:
        """The walk of one image. `guidance` has no shopper scale where there is no shopper; a
        `look` [w] stands where nobody would, so that the shopper's scale stays the shopper's."""
        intervals = self.intervals.get(task, Intervals())
        if guidance.shopper_scale == 0:
            shopper = None
        if shopper is None or shopper.centroid is None:  # nobody stands for anybody
            intervals = replace(intervals, shopper=math.inf)
        own = fuse(product, None if shopper is None else shopper.vector, task, look)
        alike = own
        if shopper is not None and shopper.centroid is not None:
            alike = fuse(product, shopper.centroid, task, look)
        digest = hashlib.blake2b(struct.pack("<Q", seed), digest_size=16)
        segments = []
        start = 0
        for known, ticks in itertools.groupby(plan, lambda tick: _phase(tick, intervals)):
            weights = known.weigh(guidance)
            conditions = own if known.shopper else alike
            start = start + update_digest(digest, ticks)
            digest.update(_describe(weights, known, product, shopper, task, look))
            terms = tuple(Term(conditions[given], weight) for given, weight in weights)
            segments.append(Segment(start, terms, digest.digest()))
        return tuple(segments)


@dataclass(frozen=True, slots=True)
class _Known:
    """What acts in a tick."""

    product: bool
    shopper: bool
    is_guided: bool

    def weigh(self, guidance: Guidance) -> tuple[tuple[Given, float], ...]:
        if not self.product:
            return guidance.terms_without_product
        scale = guidance.product_scale if self.is_guided else 1.0
        return Guidance(scale, guidance.shopper_scale).terms


def _phase(tick: Tick, intervals: Intervals) -> _Known:
    low, high = intervals.guidance
    return _Known(
        tick.sigma <= intervals.product,
        tick.sigma <= intervals.shopper,
        low <= tick.sigma <= high,
    )


def update_digest(digest: hashlib.blake2b, ticks: Iterator[Tick]) -> int:
    """Takes in the ticks; how many they were."""
    count = 0
    for tick in ticks:
        digest.update(struct.pack("<7d", tick.sigma, *tick.coefficients, tick.noise))
        count += 1
    return count


def _describe(
    weights: tuple[tuple[Given, float], ...],
    known: _Known,
    product: ProductCondition,
    shopper: ShopperCondition | None,
    task: str,
    look: Vector | None,
) -> bytes:
    parts = [task.encode()]
    for given, weight in weights:
        parts.append(struct.pack("<d??", weight, given.has_product, given.has_shopper))
        if given.has_product:
            parts.append(product.digest)
        if look is not None and not given.has_shopper:
            parts += [b"look", look.tobytes()]
        if given.has_shopper and shopper is not None:
            is_own = known.shopper or shopper.centroid is None
            parts.append((shopper.vector if is_own else shopper.centroid).tobytes())  # type: ignore[union-attr]
    return b"".join(parts)
