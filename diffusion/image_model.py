"""What a server asks of a model that makes images, whatever its family.

A product is prepared once, a walk is planned for each image, and the sampling engine does the rest
with `denoise`, `combine` and `decode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion.denoiser import Conditions
from diffusion.fusion import Vector
from diffusion.looks import ANYWHERE, SceneWish
from diffusion.samplers import Plan
from diffusion.taste_buckets import TasteBuckets
from diffusion.walks import Walk

Pixels = NDArray[np.uint8]


class PackshotNeeded(ValueError):
    """This model can't make that picture of a product that it is not shown."""


@dataclass(frozen=True)
class ProductFacts:
    """A product as a catalogue has it: cut-out packshot uint8 [H, W, 4], title in the language of
    who asks, and its vectors [w] in the space of the feature store's encoders. `control` uint8
    [H, W, 3] is a map of the packshot for a ControlNet, such as its depth. `attributes` are further
    facts in words, which the title's vector knows as well."""

    cutout: Pixels | None
    title: str
    image_embedding: Vector
    title_embedding: Vector
    control: Pixels | None = None
    attributes: str = ""


@dataclass(frozen=True)
class ShopperFacts:
    """Who the shopper is when shown this product [w], which way their taste points when shown none
    [w], and what they say that they like."""

    vector: Vector
    taste: Vector
    interests: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Preset:
    """What a wish that says nothing gets. Strength 1 stands for `max_shopper_scale`."""

    sampler: str = "euler"
    num_steps: int = 20
    product_scale: float = 1.0
    max_shopper_scale: float = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    """How to sample: None is the model's own choice.

    `strength` runs from 0 to 1. `style` is what the model's `load_style` gave, if it has styles.
    `diversity`, from 0 to 1, is how far from shopper and scene a look of the seed's own may lead.
    """

    task: str
    sampler: str | None = None
    num_steps: int | None = None
    sigmas: str | None = None
    product_scale: float | None = None
    strength: float = 0.0
    style: Any = None
    style_strength: float = 1.0
    scene: SceneWish = ANYWHERE
    diversity: float = 0.0


@dataclass(frozen=True)
class Route:
    """From noise to one image: where it begins, what is evaluated in which tick, and what the
    engine does with it. A walk starts from `image` [C, h, w], if any, and noise of `noise_scale`.
    """

    plan: Plan
    walk: Walk
    shape: tuple[int, ...]
    noise_scale: float
    image: Tensor | None = None
    warnings: tuple[str, ...] = ()
    """What whoever asked should know of how it was read."""
    look: tuple[str, ...] = ()
    """What scene or diversity chose, such as ("mint", "outdoor"); empty where nothing did."""


class PreparedProduct(Protocol):
    @property
    def digest(self) -> bytes:
        """Of all that the model sees of it."""

    @property
    def num_bytes(self) -> int:
        """Memory that it takes, on the model's device and beside."""


class ImageModel(Protocol):
    name: str
    digest: str
    latent_shape: tuple[int, ...]
    """[C, h, w] of what is made where nothing else is asked for."""

    sizes: Sequence[tuple[int, int]]
    """Width and height of what it makes, in pixels, the default first."""

    embedding_width: int
    """Of the features that it reads; those of any width where it reads none."""

    preset: Preset

    is_planning_slow: bool
    """Whether a plan may take long, since a text may have to be read for it: then not in an event
    loop."""

    creates_by_pasting: bool
    """Whether a creation is surroundings for the packshot, rather than a picture of the product."""

    @property
    def buckets(self) -> TasteBuckets | None:
        """Which shoppers count as alike, where the model knows."""

    @property
    def max_interests(self) -> int:
        """So many of a shopper's interests enter by their names."""

    @property
    def device(self) -> torch.device: ...

    @property
    def styles(self) -> Sequence[str]:
        """Names of LoRAs that a request may choose."""

    def choose_style(self, interests: Sequence[str]) -> str:
        """The style for somebody with these interests; empty for none."""

    def load_style(self, name: str) -> Any:
        """What a wish takes as its style. May take long; callable from any thread."""

    def prepare(self, facts: ProductFacts, aspect_ratio: float = 1.0) -> Any:
        """A PreparedProduct of this model's own kind, for a picture of the nearest proportions that
        the model makes, width over height. May take long; callable from any thread."""

    def plan(self, product: Any, shopper: ShopperFacts | None, wish: Wish, seed: int) -> Route: ...

    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor: ...

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor: ...

    def decode(self, latents: Tensor) -> Pixels:
        """[rows, C, h, w] → uint8 [rows, H, W, 3]."""
