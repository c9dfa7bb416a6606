"""What an architecture has to say for itself; all else is the same for every pretrained model.

A family holds the parts of a stock diffusers pipeline and answers row by row: every tensor that it
gives or takes has the rows first, and no row of an answer depends on another row of the question.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffusion.denoiser import Conditions
from diffusion.families.schedules import Schedule
from diffusion.families.specification import ModelSpecification, Size
from diffusion.fusion import Vector
from diffusion.guidance import combine


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text as the network reads it: conditions [1, ...], and the tokens that found no room."""

    conditions: Conditions
    num_lost_tokens: int = 0

    @property
    def num_bytes(self) -> int:
        return sum(value.nbytes for value in self.conditions.values())


class Family(ABC):
    """One architecture, loaded.

    `denoise` reads from its conditions, beside what `encode_prompt` and `describe_size` gave:

    * `shopper` [rows, width] and `strength` [rows, 1, h, w], where `shopper_width` is set: the
      shopper's vector and how strongly it acts at each place; zeros are nobody
    * `kept` [rows, C, h, w] and `keep` [rows, 1, h, w], where `is_inpainting`: the product's
      latents and where they stay
    * `control` [rows, 3, H, W] in 0..1 and `control_scale` [rows], where `has_controlnet`
    * `reference` [rows, C, h, w] and `has_reference` [rows], where `has_reference_tokens`
    * `guidance` [rows], where `has_embedded_guidance`
    """

    pipelines: ClassVar[tuple[str, ...]]
    """Values of `_class_name` in model_index.json that it takes."""

    default_size: ClassVar[Size] = (1024, 1024)

    is_inpainting: bool = False
    has_controlnet: bool = False
    has_reference_tokens: bool = False
    has_embedded_guidance: bool = False
    is_unclip: bool = False
    shopper_width: int | None = None
    image_width: int | None = None
    """Of the image embeddings of an unCLIP."""
    adapters_digest: str = ""
    """Of the files of its adapters."""

    schedule: Schedule

    @abstractmethod
    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        """From the stock pipeline, on its device and in its dtype, with everything that the
        specification names. Raises CheckpointUnusable, naming file and field."""

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What is evaluated in each tick: the UNet or the transformer."""

    @abstractmethod
    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        """[C, h, w] of a picture of this width and height; ValueError where it can't be."""

    def num_tokens(self, shape: tuple[int, ...]) -> int:
        """Places of a picture that a transformer sees, which some schedules depend on."""
        return shape[-1] * shape[-2] // 4

    @abstractmethod
    def encode_prompt(self, text: str) -> Prompt:
        """Of one shape for every text."""

    def describe_size(self, size: Size) -> Conditions:
        """What the network is told of a picture's size."""
        return {}

    @abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        """The one signature of `diffusion.denoiser`; float32 in and out."""

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> Tensor:
        """[n, 3, H, W] in [-1, 1] → latents [n, C, h, w] float32, their distribution's mean."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """[rows, C, h, w] → [rows, 3, H, W] in [-1, 1]."""

    def encode_packshot(self, pixels: Tensor) -> Conditions:
        """What else the network is shown of the product [1, 3, H, W] in [-1, 1], on grey."""
        return {}

    def unask(self, conditions: Conditions) -> Conditions:
        """The conditions of a negative prompt's row, where more than the prompt differs."""
        return conditions

    def blend(self, conditions: Conditions, shopper: Vector, share: float) -> Conditions:
        """The product's image embedding, `share` of the way to the shopper's [w]."""
        raise NotImplementedError

    def join(self, generic: Conditions, personal: Conditions, share: float) -> Conditions:
        """Between two prompts: `share` of the way from one to the other."""
        return {
            name: torch.lerp(value, personal[name], share)
            if value.is_floating_point()
            else personal[name]
            for name, value in generic.items()
        }

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor:
        """Predictions of guidance's rows [terms, ...] become one of each image [rows, ...]."""
        return combine(predicted, weight, owner, x, sigma)

    def describe(self) -> Mapping[str, str]:
        """How shopper and product enter, for people."""
        return {}
