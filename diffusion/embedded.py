"""What the embedded default and its baseline have in common: how product and shopper become a walk.

The shopper is a term of guidance, in forward rows of its own, and the model has learned to walk
without a product and without a shopper.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from diffusion.fusion import ProductCondition, Vector
from diffusion.guidance import Guidance, combine
from diffusion.image_model import Pixels, Preset, ProductFacts, Route, ShopperFacts, Wish
from diffusion.samplers import SAMPLERS
from diffusion.walks import Rules


class EmbeddedModel(ABC):
    """Implements the part of `diffusion.image_model.ImageModel` that says what is walked."""

    latent_shape: tuple[int, ...]
    rules: Rules
    preset: Preset
    styles: tuple[str, ...] = ()
    is_planning_slow = False

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
        """This model makes squares."""
        return self.prepare_product(facts.cutout, facts.image_embedding, facts.title_embedding)

    def plan(
        self, product: ProductCondition, shopper: ShopperFacts | None, wish: Wish, seed: int
    ) -> Route:
        preset = self.preset
        sigmas = self.sigmas(wish.num_steps or preset.num_steps, wish.sigmas)
        plan = SAMPLERS[wish.sampler or preset.sampler](sigmas)
        product_scale = preset.product_scale if wish.product_scale is None else wish.product_scale
        known = None if shopper is None else self.rules.know(shopper.vector, shopper.taste)
        shopper_scale = 0.0 if known is None else wish.strength * preset.max_shopper_scale
        guidance = Guidance(product_scale, shopper_scale)
        walk = self.rules.plan(product, known, wish.task, guidance, plan, seed)
        return Route(plan, walk, self.latent_shape, sigmas[0])

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor:
        return combine(predicted, weight, owner, x, sigma)
