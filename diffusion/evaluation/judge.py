"""The measuring instrument: reads look and product from a picture, and knows no generator.

Trained on real composites only, and never used by the networks that it judges. Its product head has
learnt all products, also those that are held out from the generator: an instrument has to know
what it is to recognise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.encoders import to_pixels
from diffusion.looks import AXES
from diffusion.model import load_network

JUDGE = Path(__file__).with_name("judge")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of n pictures: logits [n, choices] of each axis, `product` [n, 64] of unit length to be
    compared with packshots' by cosine, and `features` [n, 256] for distances between sets."""

    palette: Tensor
    setting: Tensor
    treatment: Tensor
    product: Tensor
    features: Tensor

    def of(self, axis: str) -> Tensor:
        return cast(Tensor, getattr(self, axis))

    @staticmethod
    def join(parts: Sequence[Judgement]) -> Judgement:
        names = ("palette", "setting", "treatment", "product", "features")
        return Judgement(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            convolve(channels, channels),
            nn.SiLU(),
            convolve(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + cast(Tensor, self.inner(x)))


class Judge(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """forward: pixels [n, 3, 128, 128] in [-1, 1] → Judgement."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        side: int = 128,
        widths: tuple[int, int, int] = (32, 80, 192),
        num_features: int = 256,
        product_width: int = 64,
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.trunk = nn.Sequential(
            convolve(3, fine // 2, stride=2),
            nn.SiLU(),
            convolve(fine // 2, fine, stride=2),
            nn.SiLU(),
            Block(fine),
            convolve(fine, middle, stride=2),
            nn.SiLU(),
            Block(middle),
            convolve(middle, coarse, stride=2),
            nn.SiLU(),
            Block(coarse),
            convolve(coarse, num_features, kernel=1),
            nn.SiLU(),
        )
        self.look = nn.ModuleDict({k: nn.Linear(num_features, len(v)) for k, v in AXES.items()})
        # What a product is lies in where its parts are: a small map of them, not only their mean.
        self.parts = nn.Conv2d(num_features, 24, 1)
        num_places = (side // 16) ** 2
        self.product = nn.Linear(num_features + 24 * num_places, product_width)

    def forward(self, pixels: Tensor) -> Judgement:
        found = self.trunk(pixels)
        features = found.mean(dim=(2, 3))
        parts = F.silu(self.parts(found)).flatten(1)
        product = self.product(torch.cat([features, parts], dim=1)).float()
        return Judgement(
            **{axis: head(features) for axis, head in self.look.items()},
            product=F.normalize(product, dim=1),
            features=features,
        )

    @torch.inference_mode()
    def read(self, images: NDArray[np.uint8], batch_size: int = 32) -> Judgement:
        """uint8 [n, H, W, 3], n at least 1, of any size → Judgement in float32."""
        side = self.config.side
        parts = []
        for start in range(0, len(images), batch_size):
            pixels = to_pixels(images[start : start + batch_size])
            if pixels.shape[-1] != side:
                pixels = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True)
            parts.append(cast(Judgement, self(pixels)))
        return Judgement.join(parts)


def convolve(inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def load_judge(folder: Path = JUDGE) -> Judge:
    """Raises OSError where there is none, ValueError where its weights do not fit."""
    judge: Judge = load_network(Judge, folder, torch.float32).eval().requires_grad_(False)
    judge.to(memory_format=torch.channels_last)  # a third faster
    return judge
