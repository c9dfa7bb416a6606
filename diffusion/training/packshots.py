"""Good pictures to damage or to cut out: products of all artists on white, colours and scenes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from diffusion.composition import crop_to_product
from diffusion.scenes import PALETTES, SETTINGS, Scene, render_scene
from diffusion.training.corpus import ARTWORKS, load_products
from diffusion.training.damage import WORDS, Pixels, Random, quantize

Plane = NDArray[np.float32]

SCENE_SIDE = 256
NUM_SCENE_SEEDS = 6
FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.HAMMING, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Packshots:
    """`cutouts` are premultiplied RGBa, cropped to their products; `scenes` uint8 [n, S, S, 3]."""

    cutouts: Sequence[Image.Image]
    scenes: Pixels

    @classmethod
    def load(cls, world: Path, artworks: Path, cache: Path, held_out: bool = False) -> Packshots:
        """Products that training may see, or those that it may not, by all artists. Noto comes from
        the catalogue, where it is larger."""
        products = [p.product_id for p in load_products(world) if p.held_out == held_out]
        files = [world / "packshots" / f"{name}.webp" for name in products]
        for artwork in ARTWORKS[1:]:
            files += [artworks / artwork / f"{name}.webp" for name in products]
        with ThreadPoolExecutor() as pool:
            cutouts = list(pool.map(open_cutout, files))
        return cls(cutouts, load_scenes(cache))

    def draw(self, side: int, rng: Random) -> Pixels:
        """A piece [side, side, 3] of a packshot at its own resolution or smaller, mostly near an
        edge of the product."""
        cutout = self.cutouts[int(rng.integers(len(self.cutouts)))]
        longest = max(cutout.size)
        # As many doublings of size as there are: what is near and what is far, alike.
        scale = min(1.0, 0.5 * side * (2 * longest / side) ** rng.random() / longest)
        width, height = (max(2, round(scale * length)) for length in cutout.size)
        left = round(rng.random() * (width - 0.2 * side) - 0.4 * side)
        top = round(rng.random() * (height - 0.2 * side) - 0.4 * side)
        box = (max(left, 0), max(top, 0), min(left + side, width), min(top + side, height))
        ground = self.draw_ground(side, rng)
        if box[0] < box[2] and box[1] < box[3]:
            x, y = cutout.width / width, cutout.height / height
            source = (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
            kind = FILTERS[int(rng.integers(len(FILTERS)))]
            piece = cutout.resize((box[2] - box[0], box[3] - box[1]), kind, source)
            ground = put_over(ground, piece, box[0] - left, box[1] - top)
        if rng.random() < 0.5:
            ground = ground[:, ::-1]
        if rng.random() < 0.1:
            ground = write_on(ground, rng)
        return relight(ground, rng) if rng.random() < 0.3 else ground

    def draw_ground(self, side: int, rng: Random) -> Pixels:
        """White, a colour, a gradient or a piece of a scene."""
        way = rng.random()
        if way < 0.4:
            return np.full((side, side, 3), 255, np.uint8)
        if way < 0.55:
            return np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
        if way < 0.65:
            return draw_gradient(side, rng)
        return self.draw_scene(side, rng)

    def draw_scene(self, side: int, rng: Random) -> Pixels:
        """A whole scene, or a piece of one."""
        scene = self.scenes[int(rng.integers(len(self.scenes)))]
        if side >= SCENE_SIDE // 2 and rng.random() < 0.7:
            return np.asarray(Image.fromarray(scene).resize((side, side), Image.Resampling.BICUBIC))
        top, left = rng.integers(0, len(scene) - side + 1, 2)
        return np.asarray(scene[top : top + side, left : left + side])


def open_cutout(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return Image.fromarray(crop_to_product(np.asarray(image.convert("RGBA")))).convert("RGBa")


def load_scenes(cache: Path, num_seeds: int = NUM_SCENE_SEEDS) -> Pixels:
    """Rendered once: some of each palette and setting, by seeds that nobody else counts from."""
    file = cache / f"scenes_{SCENE_SIDE}_{num_seeds}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        seeds = range(5000, 5000 + num_seeds)
        scenes = [Scene(p, s, seed) for p in PALETTES for s in SETTINGS for seed in seeds]
        with ThreadPoolExecutor() as pool:
            drawn = list(pool.map(lambda scene: render_scene(scene, SCENE_SIDE), scenes))
        np.save(file, np.stack(drawn))
    return np.asarray(np.load(file, mmap_mode="r"))


def put_over(ground: Pixels, piece: Image.Image, left: int, top: int) -> Pixels:
    """A premultiplied piece over the ground at a place where all of it fits."""
    drawn = np.array(ground)
    rgba = np.asarray(piece).astype(np.float32)
    box = np.s_[top : top + piece.height, left : left + piece.width]
    drawn[box] = quantize(rgba[..., :3] + drawn[box] * (1 - rgba[..., 3:] / 255))
    return drawn


def draw_gradient(side: int, rng: Random) -> Pixels:
    """From one colour to another, at any angle."""
    angle = rng.random() * 2 * np.pi
    y, x = np.mgrid[:side, :side] / side - 0.5
    share = np.clip(0.5 + (x * np.cos(angle) + y * np.sin(angle)), 0, 1)[..., None]
    one, other = rng.integers(0, 256, (2, 3))
    return quantize(one + share * (other - one))


def write_on(pixels: Pixels, rng: Random) -> Pixels:
    """A word in a colour, as is printed on products."""
    image, side = Image.fromarray(pixels), len(pixels)
    font = ImageFont.load_default(float(rng.uniform(0.12, 0.35) * side))
    x, y = rng.uniform(-0.1, 0.7, 2) * side
    colour = tuple(int(c) for c in rng.integers(0, 256, 3))
    ImageDraw.Draw(image).text((x, y), str(rng.choice(WORDS)), fill=colour, font=font)
    return np.asarray(image)


def relight(pixels: Pixels, rng: Random) -> Pixels:
    """Dimmer, with a cast: of the truth as well, since a restorer leaves light as it is."""
    gain = (0.55 + 0.5 * rng.random()) * (1 + 0.2 * (rng.random(3) - 0.5))
    return quantize(pixels * gain)
