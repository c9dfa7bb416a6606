"""How alike two pictures look: distances that agree better with eyes than PSNR does.

`TextureDistance` is after DISTS (Ding et al., 2020): structure and texture compared in the maps of
a convolutional network, here the judge, with all maps of a layer weighed alike. `measure_ms_ssim`
is Wang et al. (2003).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffusion.encoders import to_pixels
from diffusion.evaluation.judge import Judge

Pixels = NDArray[np.uint8]

STAGES = (2, 5, 8, 11)
"""Layers of the judge's trunk before which its maps are compared."""

FLOOR = 1e-6
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


class TextureDistance:
    """0 for the same picture, about 1 for pictures that have nothing in common."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    @torch.inference_mode()
    def measure(self, found: Pixels, truth: Pixels) -> float:
        """Of two pictures uint8 [H, W, 3] of one size."""
        maps = self._look(np.stack([found, truth]))
        return float(1 - torch.stack([compare(*pair) for pair in maps]).mean())

    def _look(self, pictures: Pixels) -> list[Tensor]:
        """Pixels and the judge's maps of them, each [2, C, h, w]."""
        x = to_pixels(pictures)
        maps = [(x + 1) / 2]
        for number, layer in enumerate(self.judge.trunk):
            if number in STAGES:
                maps.append(x)
            x = layer(x)
        return maps


def compare(found: Tensor, truth: Tensor) -> Tensor:
    """Likeness of maps [C, h, w]: their means and their correlation, half each."""
    x, y = found.flatten(1).double(), truth.flatten(1).double()
    mean_x, mean_y = x.mean(dim=1), y.mean(dim=1)
    covariance = (x * y).mean(dim=1) - mean_x * mean_y
    variances = x.var(dim=1, correction=0) + y.var(dim=1, correction=0)
    texture = (2 * mean_x * mean_y + FLOOR) / (mean_x**2 + mean_y**2 + FLOOR)
    structure = (2 * covariance + FLOOR) / (variances + FLOOR)
    return (texture.mean() + structure.mean()) / 2


@torch.inference_mode()
def measure_ms_ssim(
    found: Pixels, truth: Pixels, weights: Sequence[float] = SCALE_WEIGHTS
) -> float:
    """1 for the same picture. Of luma, uint8 [H, W, 3] of at least 176 px."""
    luma = torch.tensor([0.299, 0.587, 0.114])
    x, y = ((torch.from_numpy(np.array(p)).float() @ luma)[None, None] for p in (found, truth))
    line = torch.exp(-0.5 * ((torch.arange(11) - 5) / 1.5) ** 2)
    window = (line[:, None] * line / line.sum() ** 2)[None, None]
    result = torch.ones(())
    for number, weight in enumerate(weights):
        last = number == len(weights) - 1
        result = result * _compare_windows(x, y, window, last).clamp(min=0) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return float(result)


def _compare_windows(x: Tensor, y: Tensor, window: Tensor, with_luminance: bool) -> Tensor:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = F.conv2d(x, window), F.conv2d(y, window)
    var_x, var_y = F.conv2d(x * x, window) - mean_x**2, F.conv2d(y * y, window) - mean_y**2
    covariance = F.conv2d(x * y, window) - mean_x * mean_y
    likeness = (2 * covariance + c2) / (var_x + var_y + c2)
    if with_luminance:
        likeness = likeness * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return likeness.mean()
