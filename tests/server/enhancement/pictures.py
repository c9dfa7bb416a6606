"""Packshots that are easy to describe: a drawn one of the catalogue, and a box on white."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion.composition import resize, to_linear, to_srgb
from server.core import Pixels
from server.enhancement.nouns import Picture

PACKSHOTS = Path("features/world/packshots")
RED = (190, 40, 30)


@cache
def open_cutout(name: str = "backpack", side: int = 512) -> Pixels:
    """RGBA [side, side, 4]."""
    with Image.open(PACKSHOTS / f"{name}.webp") as image:
        rgba = np.asarray(image.convert("RGBA"))
    return rgba if side == len(rgba) else resize(rgba, side, side)


def open_on_white(name: str = "backpack", side: int = 512) -> Pixels:
    rgba = open_cutout(name, side)
    return Picture(rgba[..., :3], rgba[..., 3]).shown()


def open_with_margins(name: str = "backpack", side: int = 512) -> Pixels:
    """Smaller, with a fifth of the side free above and below."""
    small = open_on_white(name, 3 * side // 5)
    around = (side - len(small)) // 2
    rest = side - len(small) - around
    return np.pad(small, ((around, rest), (around, rest), (0, 0)), constant_values=255)


def draw_box(
    height: int = 120,
    width: int = 160,
    rows: slice = slice(30, 90),
    columns: slice = slice(40, 120),
    ground: tuple[int, int, int] = (255, 255, 255),
) -> Pixels:
    """A red box with a black and a white stripe."""
    pixels = np.full((height, width, 3), ground, np.uint8)
    pixels[rows, columns] = RED
    middle = (rows.start + rows.stop) // 2
    pixels[middle - 8 : middle - 2, columns] = 10
    pixels[middle + 2 : middle + 8, columns] = 240
    return pixels


def expose(pixels: Pixels, gain: float | tuple[float, float, float]) -> Pixels:
    """Another light, in linear light; one for each channel is a cast."""
    return to_srgb(np.asarray(to_linear(pixels) * np.asarray(gain), np.float32))


def encode(pixels: Pixels, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
