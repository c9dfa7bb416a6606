"""Pixels become files."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from server.core import EncodedImage, ImageFormat, OutputSpec, Pixels

# Run lengths are enough for rows that PNG has filtered: a third of the time of Pillow's default,
# and files of the same size on our creatives.
OPTIONS: dict[ImageFormat, dict[str, int]] = {
    ImageFormat.PNG: {"compress_type": zlib.Z_RLE},
    ImageFormat.WEBP: {"method": 2},
    ImageFormat.JPEG: {"subsampling": 0},
}


def encode(pixels: Pixels, output: OutputSpec, seed: int = 0, xmp: str = "") -> EncodedImage:
    """[height, width, 3] → a file in the format and quality asked for, at the size it has, with a
    packet of XMP where there is one."""
    options: dict[str, Any] = {**OPTIONS[output.format], **_add_xmp(output.format, xmp)}
    if output.format is not ImageFormat.PNG:
        options["quality"] = output.quality
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, output.format.name, **options)
    height, width = pixels.shape[:2]
    mime_type = f"image/{output.format.value}"
    return EncodedImage(file.getvalue(), mime_type, width, height, seed)


def _add_xmp(format: ImageFormat, xmp: str) -> dict[str, Any]:
    if not xmp:
        return {}
    if format is not ImageFormat.PNG:
        return {"xmp": xmp.encode()}
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", xmp)
    return {"pnginfo": notes}


def shrink(pixels: Pixels, longest_side: int) -> Pixels:
    """At most `longest_side` pixels long, never enlarged."""
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def show_packshot(packshot: NDArray[np.uint8], longest_side: int) -> Pixels:
    """The merchant's own picture [H, W, 3 or 4] → on white, at most `longest_side` long."""
    image = Image.fromarray(packshot).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return shrink(np.asarray(Image.alpha_composite(white, image).convert("RGB")), longest_side)
