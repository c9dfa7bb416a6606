"""Pixels ↔ latents: a linear projection of patches, and a network that undoes it.

The encoder is the principal components of 8 × 8 patches: nothing to collapse, nothing to drift, and
latents that mean the same while the decoder is still learning. What a linear inverse leaves blurred
or blocky, the decoder knows to mend from the neighbours.
"""

from __future__ import annotations

from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 8


def find_components(pixels: Tensor, side: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of all patches of pixels [n, 3, H, W]: mean [3·side²], components [count, 3·side²] and scale
    [count], the root of each one's deviation: to divide by it goes half-way to white."""
    patches = F.unfold(pixels, side, stride=side).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(dim=0)
    _, deviations, components = torch.linalg.svd(patches - mean, full_matrices=False)
    deviations = deviations[:count] / len(patches) ** 0.5
    return mean, components[:count], deviations.sqrt() * deviations.mean().sqrt()


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.conv_out(F.silu(self.conv_in(F.silu(x)))))


class Autoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """encode: [n, 3, H, W] in [-1, 1] → [n, latent_channels, H/8, W/8] of variance about 1;
    decode: the way back. H and W are multiples of 8.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 16,
        widths: tuple[int, int] = (192, 96),
        num_blocks: tuple[int, int] = (2, 3),
    ) -> None:
        super().__init__()
        coarse, fine = widths
        self.project = nn.Conv2d(3, latent_channels, PATCH, stride=PATCH)
        self.unproject = nn.ConvTranspose2d(latent_channels, 3, PATCH, stride=PATCH)
        self.mend = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, padding=1),
            *(ResidualBlock(coarse) for _ in range(num_blocks[0])),
            nn.SiLU(),
            nn.ConvTranspose2d(coarse, fine, 2, stride=2),
            *(ResidualBlock(fine) for _ in range(num_blocks[1])),
            nn.SiLU(),
            nn.Conv2d(fine, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )
        last = cast(nn.Conv2d, self.mend[-2])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))

    @torch.no_grad()
    def fit_projection(self, pixels: Tensor) -> None:
        """Sets projection and its inverse to the principal components of pixels [n, 3, H, W].

        Only half-way to white, so that a loss over latents still cares most for what the eye sees
        first.
        """
        mean, components, scale = find_components(pixels, PATCH, self.project.out_channels)
        rows = components / scale[:, None]
        self.project.weight.copy_(rows.view_as(self.project.weight))
        cast(Tensor, self.project.bias).copy_(-rows @ mean)
        inverse = (components * scale[:, None]).view_as(self.unproject.weight)
        self.unproject.weight.copy_(inverse)
        # One bias per channel is all a transposed convolution has; patches' means are nearly flat.
        cast(Tensor, self.unproject.bias).copy_(mean.view(3, -1).mean(dim=1))

    def encode(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.project(pixels))

    def decode(self, latents: Tensor) -> Tensor:
        return cast(Tensor, self.unproject(latents) + self.mend(latents))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.decode(self.encode(pixels))
