"""The merchant's own picture of a product: opened, cut out, and shown to the encoders."""

from __future__ import annotations

import io

import fsspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from diffusion.composition import Pixels, place_on_white
from diffusion.cutout import cut_out

MAX_PIXELS = 40_000_000
SIDE = 128

_TOO_LARGE = f"the image has more than {MAX_PIXELS // 1_000_000} megapixels"

Mask = NDArray[np.bool_]


class PackshotUnusable(ValueError):
    """There is no picture there, or none that a product could be seen on."""


def open_packshot(reference: str, mask: Mask | None = None) -> Pixels:
    """The product as RGBA uint8 [H, W, 4] from a path or an fsspec URL.

    A `mask` [H, W] of the picture's own size says where the product is; without one its alpha
    channel or a plain border does. Raises PackshotUnusable.
    """
    try:
        with fsspec.open(reference, "rb") as file:
            data = file.read()
    except (OSError, ValueError, ImportError) as error:
        raise PackshotUnusable(f"no image at {reference}") from error
    image = _decode(data)
    if mask is not None:
        if mask.shape != (image.height, image.width):
            raise PackshotUnusable(
                f"a mask of {mask.shape[1]} x {mask.shape[0]} on an image of "
                f"{image.width} x {image.height}"
            )
        image = image.convert("RGB")
        image.putalpha(Image.fromarray(mask.astype(np.uint8) * 255))
    rgba = cut_out(image)
    if not (rgba[..., 3] > 8).any():
        raise PackshotUnusable("nothing can be seen: every pixel is transparent")
    return rgba


def show_product(rgba: Pixels, side: int = SIDE) -> Pixels:
    """A packshot [H, W, 4] on white, placed as in a creative: what the image encoder is shown."""
    return place_on_white(rgba, side)[0]


def _decode(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise PackshotUnusable(_TOO_LARGE)
        image.load()
    except PackshotUnusable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PackshotUnusable(_TOO_LARGE) from error
    except (OSError, SyntaxError, EOFError, ValueError, RuntimeError) as error:  # AVIF's, PPM's
        raise PackshotUnusable("the image does not decode") from error
    upright: Image.Image = ImageOps.exif_transpose(image)
    return upright
