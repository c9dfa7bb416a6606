"""The merchant's own picture of a product: opened, cut out, and shown to the encoders."""

from __future__ import annotations

import fsspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.composition import Pixels, place_on_white
from diffusion.cutout import Cutout
from diffusion.finding import FindMatte, cut_out
from diffusion.pictures import PictureUnusable, as_alpha, open_picture

MAX_PIXELS = 40_000_000
SIDE = 128

Mask = NDArray[np.bool_]


class PackshotUnusable(ValueError):
    """There is no picture there, or none that a product could be seen on."""


def open_packshot(
    reference: str, mask: Mask | None = None, find_matte: FindMatte | None = None
) -> Pixels:
    """The product as RGBA uint8 [H, W, 4]; all else is as in `cut_packshot`."""
    return cut_packshot(reference, mask, find_matte).pixels


def cut_packshot(
    reference: str, mask: Mask | None = None, find_matte: FindMatte | None = None
) -> Cutout:
    """The product of a picture at a path or an fsspec URL.

    A `mask` [H, W] of the picture's own size says where the product is; without one its alpha
    channel does, a plain border or `find_matte`. Raises PackshotUnusable.
    """
    image = open_merchants_picture(read_packshot(reference))
    if mask is not None:
        if mask.shape != (image.height, image.width):
            raise PackshotUnusable(
                f"a mask of {mask.shape[1]} x {mask.shape[0]} on an image of "
                f"{image.width} x {image.height}"
            )
        image = as_alpha(image, Image.fromarray(mask.astype(np.uint8) * 255))
    cutout = cut_out(image, find_matte, is_masked=mask is not None)
    if not (cutout.pixels[..., 3] > 8).any():
        raise PackshotUnusable("nothing can be seen: every pixel is transparent")
    return cutout


def read_packshot(reference: str) -> bytes:
    """The file behind a path or an fsspec URL. Raises PackshotUnusable."""
    try:
        with fsspec.open(reference, "rb") as file:
            return bytes(file.read())
    except (OSError, ValueError, ImportError) as error:
        raise PackshotUnusable(f"no image at {reference}") from error


def open_merchants_picture(data: bytes) -> Image.Image:
    """Catalogues may bring whatever Pillow reads. Raises PackshotUnusable."""
    try:
        return open_picture(data, formats=None, max_pixels=MAX_PIXELS)
    except PictureUnusable as error:
        raise PackshotUnusable(f"the image {error}") from error


def show_product(rgba: Pixels, side: int = SIDE) -> Pixels:
    """A packshot [H, W, 4] on white, placed as in a creative: what the image encoder is shown."""
    return place_on_white(rgba, side)[0]
