"""What simulated shoppers click on: products on scenes, as a shop's archive of creatives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from diffusion.composition import Pixels, composite, contact_shadow, place, resize
from diffusion.scenes import PALETTES, SETTINGS, Scene, render_scene
from diffusion.treatments import TREATMENTS, apply_treatment
from features.catalogue import CatalogueProduct
from features.packshots import open_packshot
from features.vector import ImageTextEncoders, Vector

SIDE = 128
TREATED_SIDE = 128  # filters cost by the pixel, and nobody sees more at 128 px
NUM_SCENE_SEEDS = 48

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CreativeBank:
    """Creatives as columns of length n: indices into palettes, settings, treatments, products."""

    palette: Indices
    setting: Indices
    treatment: Indices
    product: Indices
    seed: Indices

    def __len__(self) -> int:
        return len(self.palette)

    @property
    def ids(self) -> list[str]:
        return [f"creative-{number:05d}" for number in range(len(self))]


def choose_creatives(num_products: int, count: int, rng: np.random.Generator) -> CreativeBank:
    """Each palette in each setting with each treatment about equally often; products at random."""
    shape = (len(PALETTES), len(SETTINGS), len(TREATMENTS))
    all_of_them = np.arange(np.prod(shape))
    rounds = -(-count // len(all_of_them))
    picked = np.concatenate([rng.permutation(all_of_them) for _ in range(rounds)])[:count]
    palette, setting, treatment = np.unravel_index(picked, shape)
    return CreativeBank(
        palette=palette,
        setting=setting,
        treatment=treatment,
        product=rng.integers(num_products, size=count),
        seed=rng.integers(NUM_SCENE_SEEDS, size=count),
    )


def render_creative(
    packshot: Pixels, palette: str, setting: str, treatment: str, seed: int
) -> Pixels:
    """One product [H, W, 4] in its surroundings, as RGB [SIDE, SIDE, 3]."""
    ground = render_scene(Scene(palette, setting, seed), SIDE)
    # Only a duotone is printed in the surroundings' own colours.
    colours = PALETTES[palette] if treatment == "duotone" else None
    rgb, alpha = place(apply_treatment(packshot, treatment, colours), SIDE)
    return composite(ground, rgb, alpha, contact_shadow(alpha))


def shrink(packshot: Pixels) -> Pixels:
    height, width = packshot.shape[:2]
    scale = TREATED_SIDE / max(height, width)
    return resize(packshot, max(1, round(width * scale)), max(1, round(height * scale)))


def embed_creatives(
    bank: CreativeBank,
    products: Sequence[CatalogueProduct],
    encoders: ImageTextEncoders,
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> Vector:
    """Renders and encodes them: [n, width]. Pixels are kept for one batch only."""
    shown = np.unique(bank.product).tolist()
    palettes, settings = list(PALETTES), list(SETTINGS)

    embeddings = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(bank), desc="creatives", unit=" images", disable=not progress) as bar,
    ):
        packshots = pool.map(lambda index: shrink(open_packshot(products[index].packshot)), shown)
        small = dict(zip(shown, packshots, strict=True))

        def render(number: int) -> Pixels:
            return render_creative(
                small[int(bank.product[number])],
                palettes[bank.palette[number]],
                settings[bank.setting[number]],
                TREATMENTS[bank.treatment[number]],
                int(bank.seed[number]),
            )

        for start in range(0, len(bank), batch_size):
            numbers = range(start, min(start + batch_size, len(bank)))
            embeddings.append(encoders.encode_images(np.stack(list(pool.map(render, numbers)))))
            bar.update(len(numbers))
    return np.concatenate(embeddings).astype(np.float32)
