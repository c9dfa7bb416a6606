"""What the embedded default and its baseline have in common: how product and shopper become a walk.

The shopper is a term of guidance, in forward rows of its own, and the model has learned to walk
without a product and without a shopper. It reads no words: a palette or setting that is wished for
enters as the taste that goes with it, in the shopper's vector and in the place of nobody's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from diffusion.choices import SCENE_AXES, Choices, Look, Taste, narrow
from diffusion.fusion import ProductCondition, Vector
from diffusion.guidance import Guidance, combine
from diffusion.image_model import (
    PackshotNeeded,
    Pixels,
    Preset,
    ProductFacts,
    Route,
    ShopperFacts,
    Wish,
)
from diffusion.looks import ANYWHERE, AXES
from diffusion.samplers import SAMPLERS
from diffusion.taste_buckets import TasteBuckets
from diffusion.walks import Rules

NETWORK_TASKS = {"create": "preserve"}
"""A creation is surroundings: the packshot in its treatment is sharper than what is drawn anew."""


class EmbeddedModel(ABC):
    """Implements the part of `diffusion.image_model.ImageModel` that says what is walked."""

    name: str
    latent_shape: tuple[int, ...]
    rules: Rules
    preset: Preset
    styles: tuple[str, ...] = ()
    is_planning_slow = False
    creates_by_pasting = True
    max_interests = 0

    @property
    def buckets(self) -> TasteBuckets | None:
        return self.rules.buckets

    @abstractmethod
    def sigmas(self, num_steps: int, name: str | None = None) -> list[float]: ...

    @abstractmethod
    def prepare_product(
        self, packshot: Pixels, image_embedding: Vector, title_embedding: Vector
    ) -> ProductCondition: ...

    def choose_style(self, interests: Sequence[str]) -> str:
        return ""

    def load_style(self, name: str) -> None:
        """There are none. Raises KeyError."""
        raise KeyError(name)

    def prepare(self, facts: ProductFacts, aspect_ratio: float = 1.0) -> ProductCondition:
        """This model makes squares. Raises ValueError where there is nothing to be seen."""
        if facts.cutout is None:
            told = "it can't draw a product by its title"
            raise PackshotNeeded(f"{self.name} needs a packshot: {told}")
        return self.prepare_product(facts.cutout, facts.image_embedding, facts.title_embedding)

    def plan(
        self, product: ProductCondition, shopper: ShopperFacts | None, wish: Wish, seed: int
    ) -> Route:
        """Raises ValueError where a scene leaves nothing open."""
        preset = self.preset
        sigmas = self.sigmas(wish.num_steps or preset.num_steps, wish.sigmas)
        plan = SAMPLERS[wish.sampler or preset.sampler](sigmas)
        product_scale = preset.product_scale if wish.product_scale is None else wish.product_scale
        shopper_scale = 0.0 if shopper is None else wish.strength * preset.max_shopper_scale
        guidance = Guidance(product_scale, shopper_scale)
        choices = narrow(wish.scene, has_treatments=wish.task == "create")
        taste = known = None
        if shopper is not None and shopper_scale > 0:
            taste = self._rank(shopper, shopper_scale)
        look = self._choose(choices, taste, wish.diversity, seed)
        if shopper is not None and shopper_scale > 0:
            known = self.rules.know(shopper.vector, shopper.taste, self._number(look))
        task = NETWORK_TASKS.get(wish.task, wish.task)
        generic = self._embed(look, product)
        walk = self.rules.plan(product, known, task, guidance, plan, seed, generic)
        told = tuple(look[axis] for axis in AXES if axis in look)
        warnings = self._warn(choices, wish)
        return Route(plan, walk, self.latent_shape, sigmas[0], warnings=warnings, look=told)

    def _rank(self, shopper: ShopperFacts, scale: float) -> Taste | None:
        """What the shopper likes; a clear taste needs no telling where it has its usual scale."""
        if (buckets := self.rules.buckets) is None:
            return None
        ranked = {
            axis: [AXES[axis][number] for number in numbers]
            for axis, numbers in zip(SCENE_AXES, buckets.rank(shopper.taste), strict=False)
        }
        is_clear = scale >= 1 and buckets.find(shopper.taste) is not None
        return Taste(ranked, min(scale, 1.0), is_clear)

    def _choose(self, choices: Choices, taste: Taste | None, diversity: float, seed: int) -> Look:
        """Of what this model can be told."""
        chosen = choices.choose(seed, diversity, taste)
        if self.rules.buckets is None:
            return {axis: choice for axis, choice in chosen.items() if axis not in SCENE_AXES}
        return chosen

    def _number(self, look: Look) -> list[int | None] | None:
        """The choices of the axes of taste; None where there is none."""
        if not any(axis in look for axis in SCENE_AXES):
            return None
        return [AXES[axis].index(look[axis]) if axis in look else None for axis in SCENE_AXES]

    def _embed(self, look: Look, product: ProductCondition) -> Vector | None:
        """A shopper who likes this look and nothing else [w]; None for nobody."""
        numbers, buckets = self._number(look), self.rules.buckets
        if numbers is None or buckets is None:
            return None
        return buckets.steer(np.zeros_like(product.image_embedding), numbers)

    def _warn(self, choices: Choices, wish: Wish) -> tuple[str, ...]:
        is_wished = replace(wish.scene, kept_out=()) != ANYWHERE or wish.diversity > 0
        if self.rules.buckets is None and is_wished:
            return (f"{self.name} has no buckets of taste and can't be told palette or setting",)
        return choices.warnings

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor:
        return combine(predicted, weight, owner, x, sigma)
