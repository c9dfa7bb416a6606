"""What families have in common whose transformer predicts the velocity of a rectified flow."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.denoiser import Conditions, FlowDenoiser
from diffusion.families.family import Family
from diffusion.families.schedules import FlowSchedule
from diffusion.families.specification import ModelSpecification, Size

PATCH = 2
"""Latents on a side of what a transformer sees as one token."""


class FlowTransformer(Family):
    """Its latents are those of an autoencoder with a mean and a scale, if it does not say else."""

    most_prompt_tokens: ClassVar[int | None] = None
    """That the stock pipeline takes, where that has an end."""

    schedule: FlowSchedule

    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        self.pipe, self.dtype = pipe, pipe.transformer.dtype
        self.max_tokens = specification.max_prompt_tokens
        most = self.most_prompt_tokens
        if most is not None and self.max_tokens > most:
            raise CheckpointUnusable(
                f"max_prompt_tokens: {self.max_tokens}, but {specification.family} reads {most} "
                "at most"
            )
        self.schedule = FlowSchedule(pipe.scheduler.config)
        self._flow = FlowDenoiser(self._predict)

    @abstractmethod
    def _predict(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The velocity noise - image [rows, C, h, w] at x_t, t [rows] from 0, the image, to 1."""

    @property
    def network(self) -> nn.Module:
        return cast(nn.Module, self.pipe.transformer)

    @property
    def num_channels(self) -> int:
        """Of a latent."""
        return cast(int, self.pipe.vae.config.latent_channels)

    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        factor = self.pipe.vae_scale_factor
        unit = PATCH * factor
        if any(side % unit or side <= 0 for side in size):
            raise ValueError(f"{size[0]} x {size[1]}: sides must be multiples of {unit}")
        return self.num_channels, size[1] // factor, size[0] // factor

    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        return self._flow(x, sigma, cond)

    def encode_image(self, pixels: Tensor) -> Tensor:
        vae = self.pipe.vae
        mean: Tensor = vae.encode(pixels.to(vae.dtype)).latent_dist.mean.float()
        latents: Tensor = (mean - vae.config.shift_factor) * vae.config.scaling_factor
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        vae = self.pipe.vae
        shifted = latents / vae.config.scaling_factor + vae.config.shift_factor
        return cast(Tensor, vae.decode(shifted.to(vae.dtype), return_dict=False)[0])
