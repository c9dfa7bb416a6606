"""Damages a good picture as life does: noise, blur, JPEG, too few pixels, scratches, overlays.

Pictures are uint8 [H, W, 3] and stay so, since that is how a merchant sends them. Every kind has
one strength that says all, so that a benchmark can ask for a level.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from diffusion.damage_levels import KINDS

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Levels = NDArray[np.float32]
"""How much of each of `KINDS`, 0 to 1."""

Random = np.random.Generator

MAX_NOISE, MAX_BLUR, MAX_FACTOR = 60.0, 4.0, 3.5
"""What a level of 1 stands for: codes, pixels, and the whole over the part."""

KIND_SHARES = {"none": 0.05, "mixed": 0.14, "noise": 0.09, "blur": 0.14, "downscale": 0.28}
"""Of training's pictures; the rest is JPEG. What is harder to undo comes more often."""

HOLE_SHARE = 0.16
WORDS = ("SALE", "-50%", "sample", "© shop", "NEW", "2024", "preview", "www", "@", "Nº 5")


def add_noise(pixels: Pixels, sigma: float, rng: Random) -> Pixels:
    """Gaussian, of a standard deviation in codes."""
    noise = rng.standard_normal(pixels.shape, np.float32)
    return quantize(pixels + np.float32(sigma) * noise)


def add_shot_noise(pixels: Pixels, sigma: float, rng: Random) -> Pixels:
    """As a sensor has it: more where there is more light, `sigma` at white; alike in all channels
    every other time."""
    channels = 1 if rng.random() < 0.5 else 3
    noise = rng.standard_normal((*pixels.shape[:2], channels), np.float32)
    spread = np.sqrt((pixels.astype(np.float32) + 16) / 271)
    return quantize(pixels + np.float32(sigma) * spread * noise)


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Gaussian, of a standard deviation in pixels."""
    reach = int(np.ceil(3.5 * sigma))
    offsets = np.arange(-reach, reach + 1)
    line = np.exp(-0.5 * (offsets / sigma) ** 2)
    return quantize(convolve(convolve(pixels, line[None]), line[:, None]))


def blur_by_motion(pixels: Pixels, length: float, angle: float) -> Pixels:
    """Along a line of so many pixels; the angle in radians."""
    side = 2 * int(np.ceil(length / 2)) + 1
    y, x = np.mgrid[:side, :side] - side // 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    near = np.clip(1 - np.abs(across), 0, 1) * np.clip(length / 2 + 0.5 - np.abs(along), 0, 1)
    return quantize(convolve(pixels, near))


def blur_by_defocus(pixels: Pixels, radius: float) -> Pixels:
    side = 2 * int(np.ceil(radius)) + 1
    y, x = np.mgrid[:side, :side] - side // 2
    return quantize(convolve(pixels, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)))


def convolve(pixels: NDArray[np.generic], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """[H, W, 3] with a kernel [h, w] of odd sides that is made to sum to 1."""
    weights = (kernel / kernel.sum()).astype(np.float32)
    down, across = (length // 2 for length in kernel.shape)
    padded = np.pad(pixels.astype(np.float32), ((down,) * 2, (across,) * 2, (0, 0)), "symmetric")
    height, width = pixels.shape[:2]
    total = np.zeros((height, width, 3), np.float32)
    for y, x in np.argwhere(weights > 1e-5):
        total += weights[y, x] * padded[y : y + height, x : x + width]
    return total


def downscale(
    pixels: Pixels,
    factor: float,
    down: Image.Resampling = Image.Resampling.BICUBIC,
    up: Image.Resampling = Image.Resampling.BICUBIC,
) -> Pixels:
    """Smaller by the factor, and back to its own size."""
    height, width = pixels.shape[:2]
    few = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(Image.fromarray(pixels).resize(few, down).resize((width, height), up))


def save_as_jpeg(pixels: Pixels, quality: int, subsampling: int = 2) -> Pixels:
    """And opened again; subsampling 0 keeps all colour, 2 a quarter of it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file) as image:
        return np.asarray(image)


def damage(pixels: Pixels, rng: Random) -> tuple[Pixels, Levels]:
    """In one way or several, or not at all, each of a random strength; and how much of each."""
    names = (*KIND_SHARES, "jpeg")
    shares = (*KIND_SHARES.values(), 1 - sum(KIND_SHARES.values()))
    kind = str(rng.choice(names, p=shares))
    levels = np.zeros(len(KINDS), np.float32)
    if kind == "none":
        return pixels, levels
    # In the order in which they come about: optics, resizing, sensor, file.
    kinds = [k for k in ("blur", "downscale", "noise", "jpeg") if rng.random() < 0.5]
    strength = 0.7 if kind == "mixed" else 1.0  # what comes together is each less
    for name in kinds if kind == "mixed" else [kind]:
        pixels, levels[KINDS.index(name)] = DAMAGES[name](pixels, strength, rng)
    return pixels, levels


def _noise(pixels: Pixels, strength: float, rng: Random) -> tuple[Pixels, float]:
    sigma = strength * 3 * (55 / 3) ** rng.random()
    way = add_noise if rng.random() < 0.65 else add_shot_noise
    return way(pixels, sigma, rng), sigma / MAX_NOISE


def _blur(pixels: Pixels, strength: float, rng: Random) -> tuple[Pixels, float]:
    """Motion and defocus are told by the Gaussian that is about as wide."""
    way, sigma = rng.random(), 0.5 + 3 * strength * rng.random()
    if way < 0.75:
        spoilt = blur(pixels, sigma)
    elif way < 0.85:
        spoilt = blur_by_motion(pixels, 3.5 * sigma, rng.random() * np.pi)
    else:
        spoilt = blur_by_defocus(pixels, 1.9 * sigma)
    return spoilt, sigma / MAX_BLUR


def _downscale(pixels: Pixels, strength: float, rng: Random) -> tuple[Pixels, float]:
    factor = 2.0 if rng.random() < 0.4 else 1 + strength * (0.3 + 2 * rng.random())
    kinds = Image.Resampling
    down = (kinds.BICUBIC, kinds.BICUBIC, kinds.BOX, kinds.LANCZOS)[int(rng.integers(4))]
    up = kinds.BICUBIC if rng.random() < 0.8 else kinds.BILINEAR
    return downscale(pixels, factor, down, up), (factor - 1) / (MAX_FACTOR - 1)


def _jpeg(pixels: Pixels, strength: float, rng: Random) -> tuple[Pixels, float]:
    quality = int(6 + 84 * (1 - strength * (1 - rng.random() ** 1.5)))
    spoilt = save_as_jpeg(pixels, quality, 2 if rng.random() < 0.75 else 0)
    return spoilt, 1 - quality / 100


DAMAGES: dict[str, Callable[[Pixels, float, Random], tuple[Pixels, float]]] = {
    "noise": _noise,
    "blur": _blur,
    "downscale": _downscale,
    "jpeg": _jpeg,
}


def draw_holes(height: int, width: int, rng: Random) -> Mask:
    """Scratches, blobs, boxes and letters: True [H, W] where nothing is known any more."""
    image = Image.new("L", (width, height))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.random(2) * (width, height)
        way = rng.random()
        if way < 0.35:
            turns = rng.normal(0, 0.3 * width, (int(rng.integers(2, 5)), 2)).cumsum(axis=0)
            points = [(x + dx, y + dy) for dx, dy in turns]
            pen.line([(x, y), *points], fill=255, width=int(rng.integers(1, 6)), joint="curve")
        elif way < 0.75:
            rx, ry = (0.04 + 0.16 * rng.random(2)) * (width, height)
            shape = pen.ellipse if way < 0.6 else pen.rectangle
            shape((x - rx, y - ry, x + rx, y + ry), fill=255)
        else:
            font = ImageFont.load_default(float(rng.uniform(0.15, 0.4) * height))
            pen.text((x - 0.3 * width, y), str(rng.choice(WORDS)), fill=255, font=font)
    if rng.random() < 0.5:  # whoever paints a mask paints over the edge
        image = image.filter(ImageFilter.MaxFilter(3))
    return np.asarray(image) > 127


def quantize(pixels: NDArray[np.generic]) -> Pixels:
    return np.rint(pixels).clip(0, 255).astype(np.uint8)  # type: ignore[attr-defined, no-any-return]
