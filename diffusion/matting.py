"""Finds the product in front of anything: its alpha at the picture's own resolution.

A small network looks at the picture at 128 px; a guided filter (He et al., 2013) brings what it
found to the picture's own edges. Trained on drawn products on drawn scenes, plain grounds and
clutter; for photographs there is `diffusion.pretrained_matting`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffusion.checkpoint import CheckpointUnusable, digest_folder
from diffusion.composition import Plane, as_share
from diffusion.cutout import Matte
from diffusion.encoders import to_pixels
from diffusion.guided_filter import follow_edges
from diffusion.model import UNREADABLE, load_network
from diffusion.unet import UNet

Pixels = NDArray[np.uint8]

MATTING = Path(__file__).with_name("matting_net")


class MattingModel(Protocol):
    """What finds products: `Matting`, or `PretrainedMatting` for photographs."""

    name: str
    digest: str

    def find_alpha(self, rgb: Pixels) -> Matte:
        """uint8 [H, W, 3] of any size."""

    def find_alphas(self, pictures: Sequence[Pixels]) -> list[Matte]:
        """The same of pictures of any sizes, in shared forwards."""


class Matting:
    """`Matting.load(folder, device).find_alpha(rgb)`; callable from any thread."""

    def __init__(self, network: UNet, name: str, digest: str, side: int = 128) -> None:
        self.network = network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)
        self.name, self.digest, self.side = name, digest, side

    @classmethod
    def load(cls, folder: Path = MATTING, device: str = "cpu") -> Matting:
        """Raises CheckpointUnusable."""
        try:
            index = json.loads((folder / "model_index.json").read_text())
            network = load_network(UNet, folder / "network", torch.float32).to(device)
            config = network.config
            if (config.in_channels, config.out_channels, config.num_facts) != (3, 1, 0):
                raise ValueError("it is a network of another kind")
            return cls(network, index["_name_or_path"], digest_folder(folder), index["side"])
        except UNREADABLE as error:
            raise CheckpointUnusable(f"{folder} finds no products: {error}") from error

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.network.device)

    def find_alpha(self, rgb: Pixels) -> Matte:
        """uint8 [H, W, 3] of any size; what it finds does not depend on other pictures."""
        return self.find_alphas([rgb])[0]

    def find_alphas(self, pictures: Sequence[Pixels], batch_size: int = 16) -> list[Matte]:
        """The same of pictures of any sizes, in shared forwards."""
        mattes: list[Matte] = []
        for start in range(0, len(pictures), batch_size):
            batch = pictures[start : start + batch_size]
            small = np.stack([shrink(picture, self.side) for picture in batch])
            found = self.look(to_pixels(small)).cpu().numpy()
            mattes += [
                Matte.of(bring_to(picture, seen, alpha))
                for picture, seen, alpha in zip(batch, small, found, strict=True)
            ]
        return mattes

    @torch.inference_mode()
    def look(self, pixels: Tensor) -> Tensor:
        """[n, 3, side, side] in [-1, 1] → alpha [n, side, side]."""
        seen = pixels.to(self.device, memory_format=torch.channels_last)
        return cast(Tensor, self.network(seen).sigmoid()[:, 0])


def shrink(picture: Pixels, side: int) -> Pixels:
    """As the network sees it: a square, whatever the picture's proportions."""
    if picture.shape[:2] == (side, side):
        return picture
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3)
    return np.asarray(image)


def bring_to(picture: Pixels, seen: Pixels, alpha: Plane) -> Plane:
    """Alpha of what was seen, at the picture's own resolution and along its own edges."""
    if picture.shape == seen.shape:
        return alpha
    return follow_edges(alpha, as_share(seen), as_share(picture))


def save_index(folder: Path, name: str, side: int) -> None:
    """model_index.json in diffusers' layout."""
    index = {
        "_class_name": "Matting",
        "_name_or_path": name,
        "network": ["diffusion.unet", "UNet"],
        "side": side,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
