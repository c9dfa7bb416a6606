"""A corpus of three products with every artwork and one seed of every scene, rendered for real."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion.scenes import PALETTES, SETTINGS
from diffusion.training.corpus import ARTWORKS, SIDE, Corpus, _render_products
from tests.diffusion.tiny import PRODUCTS

COLOURS = {"shoe": (200, 30, 30), "drum": (30, 200, 30), "kite": (30, 30, 200)}


def draw_artworks(folder: Path) -> Path:
    """A square of each product's own colour, of another size in every artwork."""
    for number, artwork in enumerate(ARTWORKS):
        (folder / artwork).mkdir(parents=True)
        for product in PRODUCTS:
            rgba = np.zeros((64, 64, 4), np.uint8)
            margin = 8 + 4 * number
            rgba[margin:-margin, margin + 4 : -margin - 4] = (*COLOURS[product.product_id], 255)
            file = folder / artwork / f"{product.product_id}.webp"
            Image.fromarray(rgba).save(file, lossless=True)
    return folder


def make_corpus(folder: Path, num_seeds: int = 2) -> Corpus:
    """Views as `build_corpus` renders them; scenes are flat, each of its own grey."""
    cache = folder / "corpus"
    cache.mkdir()
    with ThreadPoolExecutor(2) as pool:
        _render_products(PRODUCTS, draw_artworks(folder / "artworks"), cache, pool)  # type: ignore[arg-type]
    greys = np.arange(len(PALETTES) * len(SETTINGS) * num_seeds, dtype=np.uint8) + 60
    shape = (len(PALETTES), len(SETTINGS), num_seeds, 1, 1, 1)
    scenes = np.broadcast_to(greys.reshape(shape), (*shape[:3], SIDE, SIDE, 3)).copy()
    np.save(cache / "scenes.npy", scenes)
    return Corpus(PRODUCTS, np.load(cache / "views.npy"), np.load(cache / "view_index.npy"), scenes)
