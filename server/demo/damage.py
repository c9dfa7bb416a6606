"""What happens to packshots on their way from a supplier. The same damage each time."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

SEED = 7
GREY = (150, 150, 156)


def add_noise(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(SEED).normal(0, 26, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).round().astype(np.uint8))


def blur(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(2))


def compress(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=12)
    return Image.open(file).convert("RGB")


def write_over(picture: Image.Image) -> Image.Image:
    """Letters below the product, as a supplier marks a picture."""
    marked = picture.copy()
    place = (picture.width / 2, picture.height * 0.985)
    font = ImageFont.load_default(picture.width // 15)
    ImageDraw.Draw(marked).text(place, "SAMPLE PHOTO", GREY, font, anchor="mb")
    return marked


def darken(picture: Image.Image) -> Image.Image:
    """Too little light, and of a warm lamp."""
    warm = np.asarray(ImageEnhance.Brightness(picture).enhance(0.55)) * (1.0, 0.93, 0.76)
    return Image.fromarray(warm.round().astype(np.uint8))


def photograph(data: bytes, side: int) -> Image.Image:
    """An encoded packshot on white, in the middle of a square of `side` pixels, with a border."""
    with Image.open(io.BytesIO(data)) as opened:
        product = opened.convert("RGBA")
    product.thumbnail((round(side * 0.78),) * 2, Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(product, ((side - product.width) // 2, (side - product.height) // 2))
    return square.convert("RGB")
