"""Pictures that no training has seen: held-out packshots, damaged; held-out products on scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.composition import CENTRE, Plane, composite, contact_shadow, place, resize
from diffusion.scenes import PALETTES, SETTINGS, Scene, render_scene
from diffusion.training.corpus import load_products
from diffusion.training.damage import (
    Random,
    add_noise,
    blur,
    downscale,
    draw_holes,
    save_as_jpeg,
)
from diffusion.training.packshots import draw_gradient

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MAX_PSNR_DB = 100.0

FIRST_SCENE_SEED = 9000
"""Scenes of training count from others."""


@dataclass(frozen=True)
class Damage:
    """One kind at one strength; `min_gain_db` where a gain is asked for."""

    kind: str
    level: float
    apply: Callable[[Pixels, Random], Pixels]
    min_gain_db: float | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.level:g}"


def _list_damages() -> tuple[Damage, ...]:
    asked = {"noise": (25, 6.0), "blur": (2, 3.0), "jpeg": (15, 3.0), "downscale": (2, 3.0)}
    levels = {
        "noise": (12, 25, 50),
        "blur": (1, 2, 3),
        "jpeg": (40, 15, 8),
        "downscale": (1.5, 2, 3),
    }

    def make(kind: str, level: float) -> Damage:
        apply: dict[str, Callable[[Pixels, Random], Pixels]] = {
            "noise": lambda pixels, rng: add_noise(pixels, level, rng),
            "blur": lambda pixels, rng: blur(pixels, level),
            "jpeg": lambda pixels, rng: save_as_jpeg(pixels, int(level)),
            "downscale": lambda pixels, rng: downscale(pixels, level),
        }
        own, gain_db = asked[kind]
        return Damage(kind, level, apply[kind], gain_db if level == own else None)

    return tuple(make(kind, level) for kind, those in levels.items() for level in those)


DAMAGES = _list_damages()
"""Sigma in codes of 255, sigma in pixels, quality, factor: weaker, as asked, stronger."""


def load_cutouts(world: Path) -> dict[str, Pixels]:
    """Packshots uint8 [512, 512, 4] of the products that are held out, by product."""
    cutouts = {}
    for product in load_products(world):
        if product.held_out:
            with Image.open(world / "packshots" / f"{product.product_id}.webp") as image:
                cutouts[product.product_id] = np.asarray(image.convert("RGBA"))
    return cutouts


def put_on_white(cutout: Pixels, side: int) -> Pixels:
    """As a merchant would send it, [side, side, 3]."""
    rgba = cutout if len(cutout) == side else resize(cutout, side, side)
    cover = rgba[..., 3:].astype(np.float64) / 255
    return np.rint(rgba[..., :3] * cover + 255 * (1 - cover)).astype(np.uint8)


def seed_of(*names: object) -> Random:
    """The same for the same names, on any machine."""
    return np.random.default_rng(crc32("/".join(map(str, names)).encode()))


def measure_psnr(found: Pixels, truth: Pixels, where: Mask | None = None) -> float:
    """In dB, at most 100; of the pixels under `where` [H, W]."""
    error = (found.astype(np.float64) - truth) ** 2
    mse = float((error if where is None else error[where]).mean()) / 255**2
    return MAX_PSNR_DB if mse == 0 else min(MAX_PSNR_DB, float(-10 * np.log10(mse)))


def scratch(pixels: Pixels, name: str) -> tuple[Pixels, Mask]:
    """Holes, black as ink, and where they are."""
    height, width = pixels.shape[:2]
    mask = draw_holes(height, width, seed_of(name, "holes"))
    return np.where(mask[..., None], 0, pixels).astype(np.uint8), mask


GROUNDS = ("white", "plain", "gradient", "scene", "clutter")


def draw_on(ground: str, name: str, cutouts: dict[str, Pixels], side: int) -> tuple[Pixels, Plane]:
    """A product where creatives have it, on a ground [side, side, 3], and its alpha."""
    rng = seed_of(name, ground)
    rgb, alpha = place(cutouts[name], side, CENTRE)
    background = _draw_ground(ground, name, cutouts, side, rng)
    shadow = contact_shadow(alpha) if ground == "scene" else None
    return composite(background, rgb, alpha, shadow), alpha


def _draw_ground(
    ground: str, name: str, cutouts: dict[str, Pixels], side: int, rng: Random
) -> Pixels:
    if ground == "white":
        return np.full((side, side, 3), 255, np.uint8)
    if ground == "plain":
        return np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
    if ground == "gradient":
        return draw_gradient(side, rng)
    palette, setting = rng.choice(list(PALETTES)), rng.choice(list(SETTINGS))
    seed = FIRST_SCENE_SEED + int(rng.integers(1000))
    scene = render_scene(Scene(str(palette), str(setting), seed), side)
    return scene if ground == "scene" else _clutter(scene, name, cutouts, rng)


def _clutter(scene: Pixels, name: str, cutouts: dict[str, Pixels], rng: Random) -> Pixels:
    """Parts of four other products lie about, cut square."""
    side, others = len(scene), sorted(set(cutouts) - {name})
    cluttered = Image.fromarray(scene)
    for other in rng.choice(others, 4):
        length = int(rng.uniform(0.12, 0.26) * side)
        part = Image.fromarray(cutouts[str(other)]).crop((128, 128, 384, 384))
        x, y = (int(at) for at in rng.integers(0, side - length, 2))
        part = part.resize((length, length), Image.Resampling.BICUBIC)
        cluttered.paste(part, (x, y), part)
    return np.asarray(cluttered)


def pick(cutouts: dict[str, Pixels], count: int) -> Iterator[str]:
    """So many of the products, evenly over all."""
    names = sorted(cutouts)
    return (names[i * len(names) // count] for i in range(min(count, len(names))))
