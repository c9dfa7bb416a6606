"""Whether bytes are a packshot: one still image, PNG, WebP or JPEG, of at most 20 megapixels.

The size is read from the header before a pixel is decoded, so that a small file that unfolds into a
huge image costs nothing; then everything is decoded, since that alone finds what is broken.
"""

from __future__ import annotations

import io

from PIL import Image

MAX_PIXELS = 20_000_000
_FORMATS = ("PNG", "WEBP", "JPEG")
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def find_fault(packshot: bytes) -> str | None:
    """What is wrong with the bytes, for a person; None where nothing is. Costs a whole decoding."""
    try:
        with Image.open(io.BytesIO(packshot), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return _too_large(f"{width} × {height} pixels")
            # A JPEG with a second picture in it, such as a depth map, is a still image.
            if getattr(image, "is_animated", False) and image.format != "MPO":
                return "is an animated image; a still one is needed"
            image.load()
    except _BOMBS:
        return _too_large("far larger")
    except Exception:  # damaged files make Pillow raise nearly anything, even AttributeError
        return "is no readable PNG, WebP or JPEG image"
    return None


def _too_large(size: str) -> str:
    return f"is {size}; at most {MAX_PIXELS // 1_000_000} megapixels are allowed"
