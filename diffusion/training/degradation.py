"""Poor packshots, as merchants send them: what REPAIR learns to undo."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diffusion.training.loop import draw


def degrade(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """[n, 3, S, S] in [-1, 1] → the same, once small, badly lit, noisy, saved as a poor JPEG."""
    poor = torch.cat([shrink(row[None], generator) for row in pixels])
    poor = light(poor, generator)
    noise = 0.12 * torch.rand(len(poor), 1, 1, 1, generator=generator)
    poor = poor + noise * torch.randn(poor.shape, generator=generator)
    quality = 12 + draw(generator, 60, len(poor))
    return torch.stack([save_badly(row, int(q)) for row, q in zip(poor, quality, strict=True)])


def shrink(pixels: Tensor, generator: torch.Generator) -> Tensor:
    side = pixels.shape[-1]
    small = int(side / (1 + 3 * torch.rand((), generator=generator)))
    few = F.interpolate(pixels, (small, small), mode="bilinear", antialias=True)
    return F.interpolate(few, (side, side), mode="bilinear")


def light(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Dim, with a cast, and flat."""
    count = len(pixels)
    brightness = 0.65 + 0.45 * torch.rand(count, 1, 1, 1, generator=generator)
    cast = 1 + 0.16 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    haze = 0.25 * torch.rand(count, 1, 1, 1, generator=generator)
    share = (pixels + 1) / 2 * brightness * cast
    return torch.lerp(share, torch.full_like(share, 0.55), haze) * 2 - 1


def save_badly(pixels: Tensor, quality: int) -> Tensor:
    coded = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(coded).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1
