"""Distributions whose denoiser is known: what samplers and adapters are measured against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """Images from N(mean, deviation²)."""

    mean: float = 0.3
    deviation: float = 0.7

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[image | x]: mean + s0² / (s0² + sigma²) · (x - mean)."""
        share = self.deviation**2 / (self.deviation**2 + sigma**2)
        return self.mean + share * (x - self.mean)

    def walk(self, x: Tensor, sigma: float, following: float) -> Tensor:
        """Where the exact flow from noise level `sigma` to `following` carries x."""
        s0 = self.deviation**2
        ratio = ((s0 + following**2) / (s0 + sigma**2)) ** 0.5
        return self.mean + ratio * (x - self.mean)


@dataclass(frozen=True)
class TwoPoints:
    """Pixels that are -1 or 1 with equal chances: a denoiser that is not linear."""

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return torch.tanh(x / sigma**2)
