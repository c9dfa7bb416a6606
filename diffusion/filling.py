"""Fills holes of a picture with what is around them, the nearest first.

Pull-push (Gortler et al., The Lumigraph, 1996, section 3.4): smooth, and all that a network needs
to begin from.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Pixels = NDArray[np.uint8]


def fill_holes(pixels: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    """Pixels [H, W, 3] with those under the mask [H, W] made up; where nothing is known, grey."""
    if not mask.any():
        return pixels
    known = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    filled = fill(known, torch.from_numpy(mask)[None, None])[0].permute(1, 2, 0).numpy()
    codes = np.rint((filled + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return cast(Pixels, np.where(mask[..., None], codes, pixels))


def fill(pixels: Tensor, mask: Tensor) -> Tensor:
    """The same with pixels [n, C, H, W] around zero and masks [n, 1, H, W], 1 or True the hole."""
    hole = mask.to(pixels.dtype)
    return torch.lerp(pixels, _pull_push(pixels * (1 - hole), 1 - hole), hole)


def _pull_push(colour: Tensor, weight: Tensor) -> Tensor:
    """Weighted colour and weights → colour everywhere."""
    own = colour / weight.clamp(min=1e-6)
    height, width = colour.shape[-2:]
    if height * width == 1:
        return own
    # Sums, so that one known pixel of four is as sure as a coarse pixel can be.
    pulled = [
        F.avg_pool2d(plane, 2, ceil_mode=True, divisor_override=1) for plane in (colour, weight)
    ]
    coarse = F.interpolate(_pull_push(*pulled), scale_factor=2.0, mode="bilinear")
    return torch.lerp(coarse[..., :height, :width], own, weight.clamp(max=1))
