"""A catalogue of three products on disk, as the training of restorer and matting reads one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion.training.corpus import ARTWORKS
from diffusion.training.packshots import Packshots
from tests.diffusion.tiny import PRODUCTS
from tests.diffusion.training.small import COLOURS


def make_world(folder: Path) -> Path:
    """products.jsonl and packshots, and artworks beside them."""
    rows = [
        {
            "product_id": product.product_id,
            "category": product.category,
            "split": "held_out" if product.held_out else "train",
            "titles": product.titles,
        }
        for product in PRODUCTS
    ]
    (folder / "products.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    for sub in ("packshots", *(f"artworks/{name}" for name in ARTWORKS)):
        (folder / sub).mkdir(parents=True)
        for product in PRODUCTS:
            draw_cutout(COLOURS[product.product_id]).save(
                folder / sub / f"{product.product_id}.webp", lossless=True
            )
    return folder


def draw_cutout(colour: tuple[int, int, int], side: int = 96) -> Image.Image:
    """A square with a pale stripe."""
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[8:-8, 20:-20] = (*colour, 255)
    rgba[side // 2 : side // 2 + 6, 20:-20] = (240, 240, 220, 255)
    return Image.fromarray(rgba)


def load_packshots(folder: Path) -> Packshots:
    (folder / "world").mkdir()
    world = make_world(folder / "world")
    return Packshots.load(world, world / "artworks", folder / "scenes")
