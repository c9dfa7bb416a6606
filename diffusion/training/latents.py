"""Latents of the pictures that an adapter learns from: made once, kept in files of a few each."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from diffusion.encoders import to_pixels
from diffusion.training.pictures import Picture, Size, open_pictures

ROWS = 32
"""Pictures in one file."""


class Latents:
    """[n, C, h, w] in float16, read from the files as it is asked for."""

    def __init__(self, parts: Sequence[NDArray[np.float16]]) -> None:
        self.parts = parts

    def __getitem__(self, rows: NDArray[np.int64]) -> Tensor:
        """[k] → float32 [k, C, h, w]."""
        found = [self.parts[row // ROWS][row % ROWS] for row in rows]
        return torch.from_numpy(np.stack(found).astype(np.float32))


def encode_pictures(
    pictures: list[Picture], vae: Any, size: Size, folder: Path, model: str, batch: int = 4
) -> Latents:
    """Encodes what no earlier run has encoded for `model`, a digest. Raises DatasetUnusable."""
    told = [model, *map(str, size), *(picture.identify() for picture in pictures)]
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
    folder = folder / f"latents-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number in tqdm(range(math.ceil(len(pictures) / ROWS)), "latents", unit=" files"):
        file = folder / f"{number:05}.npy"
        if not file.exists():
            shown = pictures[number * ROWS : (number + 1) * ROWS]
            pixels = to_pixels(open_pictures(shown, size))
            found = torch.cat([encode(vae, part) for part in torch.split(pixels, batch)])
            unfinished = file.with_suffix(".part")
            with unfinished.open("wb") as opened:
                np.save(opened, found.half().cpu().numpy())
            os.replace(unfinished, file)
        parts.append(np.load(file, mmap_mode="r"))
    return Latents(parts)


@torch.inference_mode()
def encode(vae: Any, pixels: Tensor) -> Tensor:
    """[n, 3, H, W] in [-1, 1] → the mean of their distribution, as the UNet is used to it."""
    mean: Tensor = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mean.float()
    told = vae.config
    if told.get("latents_mean") is not None and told.get("latents_std") is not None:
        centre, spread = (
            mean.new_tensor(told[name]).reshape(1, -1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )
        return (mean - centre) / spread * float(told["scaling_factor"])
    return (mean - float(told.get("shift_factor") or 0.0)) * float(told["scaling_factor"])
