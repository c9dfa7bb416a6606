"""Pixels ↔ latents: a small convolutional autoencoder, 128 px to 16 × 16 × 8."""

from __future__ import annotations

from typing import cast

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(8, channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_out = nn.GroupNorm(8, channels)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(F.silu(self.norm_in(x)))
        return x + cast(Tensor, self.conv_out(F.silu(self.norm_out(h))))


class Autoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Pixel-unshuffle 4, one halving, `latent_channels` bounded by tanh.

    encode: [n, 3, H, W] in [-1, 1] → [n, latent_channels, H/8, W/8] in (-1, 1);
    decode: the way back. H and W are multiples of 8.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 8,
        widths: tuple[int, int] = (64, 192),
        num_encoder_blocks: int = 1,
        num_decoder_blocks: int = 2,
    ) -> None:
        super().__init__()
        fine, coarse = widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, fine, 3, padding=1),
            *(ResidualBlock(fine) for _ in range(num_encoder_blocks)),
            nn.Conv2d(fine, coarse, 2, stride=2),
            *(ResidualBlock(coarse) for _ in range(num_encoder_blocks)),
            nn.GroupNorm(8, coarse),
            nn.SiLU(),
            nn.Conv2d(coarse, latent_channels, 3, padding=1),
            nn.Tanh(),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, padding=1),
            *(ResidualBlock(coarse) for _ in range(num_decoder_blocks)),
            nn.ConvTranspose2d(coarse, fine, 2, stride=2),
            *(ResidualBlock(fine) for _ in range(num_decoder_blocks)),
            nn.GroupNorm(8, fine),
            nn.SiLU(),
            nn.Conv2d(fine, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )

    def encode(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.encoder(pixels))

    def decode(self, latents: Tensor) -> Tensor:
        return cast(Tensor, self.decoder(latents))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.decode(self.encode(pixels))
