"""What training looks at: every product's views and every scene, rendered once, kept in a cache.

A view is a product placed in the empty frame: one artwork in one treatment; duotone in each
palette.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from diffusion.composition import contact_shadow, place
from diffusion.scenes import PALETTES, SETTINGS, Scene, render_scene
from diffusion.treatments import TREATMENTS, apply_treatment

ARTWORKS = ("noto", "fluent3d", "fluentflat", "twemoji")
TREATED_ARTWORKS = ARTWORKS[:2]
SIDE = 128
NATURAL = TREATMENTS.index("natural")
DUOTONE = TREATMENTS.index("duotone")


@dataclass(frozen=True)
class Product:
    product_id: str
    category: str
    titles: dict[str, str]
    held_out: bool


@dataclass(frozen=True)
class Corpus:
    """views uint8 [v, S, S, 5] (rgb, alpha, shadow), scenes uint8 [palettes, settings, k, S, S, 3].

    `view_index` [products, artworks, treatments, palettes] points into the views.
    """

    products: list[Product]
    views: NDArray[np.uint8]
    view_index: NDArray[np.int64]
    scenes: NDArray[np.uint8]

    @property
    def trained(self) -> Tensor:
        """Indices of the products that training may see."""
        return torch.tensor([i for i, p in enumerate(self.products) if not p.held_out])

    def composite(self, views: Tensor, places: Tensor, seeds: Tensor) -> Tensor:
        """Products on scenes: views and seeds [n], places [n, 2 or more] starting with palette and
        setting → float32 [n, 3, S, S] in [-1, 1]."""
        view = torch.from_numpy(self.views[views.numpy()]).permute(0, 3, 1, 2).float() / 255
        scene = self.scenes[places[:, 0].numpy(), places[:, 1].numpy(), seeds.numpy()]
        ground = torch.from_numpy(scene).permute(0, 3, 1, 2).float() / 255
        rgb, alpha, shadow = view[:, :3], view[:, 3:4], view[:, 4:5]
        ground = ground.square() * shadow  # gamma 2 is near enough to linear light here
        return (ground + (rgb.square() - ground) * alpha).sqrt() * 2 - 1

    def packshot(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Products alone: [n] → pixels [n, 3, S, S] on white in [-1, 1] and alpha [n, 1, S, S]."""
        view = torch.from_numpy(self.views[views.numpy()]).permute(0, 3, 1, 2).float() / 255
        alpha = view[:, 3:4]
        return (view[:, :3] * alpha + 1 - alpha) * 2 - 1, alpha


def load_products(world: Path) -> list[Product]:
    rows = [json.loads(line) for line in (world / "products.jsonl").read_text("utf-8").splitlines()]
    return [
        Product(row["product_id"], row["category"], row["titles"], row["split"] == "held_out")
        for row in rows
    ]


def render_views(path: tuple[str, int]) -> list[tuple[int, int, NDArray[np.uint8]]]:
    """All views of one artwork: (treatment, palette or -1, [S, S, 5])."""
    file, artwork = path
    rgba = np.asarray(Image.open(file).convert("RGBA").resize((192, 192), Image.Resampling.LANCZOS))
    palettes = list(PALETTES.values())
    views = [(NATURAL, -1, frame(rgba))]
    if artwork < len(TREATED_ARTWORKS):
        for index, treatment in enumerate(TREATMENTS):
            if index == DUOTONE:
                views += [
                    (index, p, frame(apply_treatment(rgba, treatment, palette)))
                    for p, palette in enumerate(palettes)
                ]
            elif index != NATURAL:
                views.append((index, -1, frame(apply_treatment(rgba, treatment))))
    return views


def frame(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb, alpha = place(rgba, SIDE)
    planes = np.stack([alpha, contact_shadow(alpha)], axis=2)
    return np.concatenate([rgb, np.rint(planes * 255).astype(np.uint8)], axis=2)


def render_scenes(place_: tuple[str, str, int]) -> NDArray[np.uint8]:
    palette, setting, num_seeds = place_
    return np.stack([render_scene(Scene(palette, setting, s), SIDE) for s in range(num_seeds)])


def build_corpus(world: Path, artworks: Path, cache: Path, num_seeds: int = 48) -> Corpus:
    """Renders everything with all processors, or loads what an earlier run rendered."""
    products = load_products(world)
    if not (cache / "scenes.npy").exists():
        cache.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            _render_products(products, artworks, cache, pool)
            places = [(p, s, num_seeds) for p in PALETTES for s in SETTINGS]
            scenes = list(tqdm(pool.map(render_scenes, places), "scenes", len(places)))
        shape = (len(PALETTES), len(SETTINGS), num_seeds, SIDE, SIDE, 3)
        np.save(cache / "scenes.npy", np.stack(scenes).reshape(shape))
    return Corpus(
        products,
        np.load(cache / "views.npy", mmap_mode="r"),
        np.load(cache / "view_index.npy"),
        np.load(cache / "scenes.npy", mmap_mode="r"),
    )


def _render_products(
    products: list[Product], artworks: Path, cache: Path, pool: ProcessPoolExecutor
) -> None:
    files = [
        (str(artworks / name / f"{product.product_id}.webp"), artwork)
        for product in products
        for artwork, name in enumerate(ARTWORKS)
    ]
    index = np.full((len(products), len(ARTWORKS), len(TREATMENTS), len(PALETTES)), -1, np.int64)
    views: list[NDArray[np.uint8]] = []
    rendered = pool.map(render_views, files, chunksize=8)
    for number, found in enumerate(tqdm(rendered, "views", len(files))):
        product, artwork = divmod(number, len(ARTWORKS))
        for treatment, palette, view in found:
            index[product, artwork, treatment, slice(None) if palette < 0 else palette] = len(views)
            views.append(view)
    np.save(cache / "views.npy", np.stack(views))
    np.save(cache / "view_index.npy", index)
