"""Opens the pictures that merchants send, one way for all: 8 bit sRGB, upright.

The size is read from the header before a pixel is decoded, so that a small file that unfolds into a
huge picture costs nothing; then everything is decoded, since that alone finds what is broken.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageOps

MAX_PIXELS = 20_000_000
FORMATS = ("PNG", "WEBP", "JPEG", "TIFF", "BMP")
MAX_SCANS = 100
"""Of a JPEG: some ten draw a progressive one, and each goes over the whole picture."""

PROGRAMS = {"EPS"}
"""Of what Pillow reads: Ghostscript would run them."""

SAME_CODES = 2
"""A profile that moves no code by more than this is sRGB, whatever it is called."""

TILE_WIDTH, TILE_LENGTH = 322, 323  # tags of TIFF

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_UNTOLD = {"F": "floating point numbers", "I": "numbers of 32 bit", "LAB": "Lab colours"}


class PictureUnusable(ValueError):
    """Its text says what is wrong with a picture, to be read after "the image"."""


def open_picture(
    data: bytes, *, formats: tuple[str, ...] | None = FORMATS, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """One still picture as RGB, or as RGBA where its file speaks of transparency.

    Grey, palettes, CMYK, 16 bit and colour profiles become 8 bit sRGB; codes that are sRGB already
    stay as they are. `formats` None takes all that Pillow reads by itself. Raises PictureUnusable.
    """
    try:
        with Image.open(io.BytesIO(data), formats=formats or list_formats()) as image:
            check_header(image, max_pixels)
            check_work(image, data, max_pixels)
            image.load()
            return convert(turn(image))
    except PictureUnusable:
        raise
    except _BOMBS as error:
        raise PictureUnusable(tell_too_large("far larger", max_pixels)) from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise PictureUnusable(f"does not decode as {tell_formats(formats)}") from error


@functools.cache
def list_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in PROGRAMS)


def open_mask(data: bytes, size: tuple[int, int]) -> Image.Image:
    """What white marks on a picture of this width and height: mode L. Raises PictureUnusable."""
    mask = open_picture(data)
    if mask.size != size:
        raise PictureUnusable(
            f"is {mask.width} × {mask.height} pixels, but the picture is {size[0]} × {size[1]}"
        )
    if mask.mode == "RGBA":  # what is transparent marks nothing
        return ImageChops.multiply(mask.convert("RGB").convert("L"), mask.getchannel("A"))
    return mask.convert("L")


def check_header(image: Image.Image, max_pixels: int = MAX_PIXELS) -> None:
    """Raises PictureUnusable."""
    width, height = image.size
    if width * height == 0:
        raise PictureUnusable("is empty: it has no pixels")
    if width * height > max_pixels:
        raise PictureUnusable(tell_too_large(f"{width} × {height} pixels", max_pixels))
    # A JPEG with a second picture in it, such as a depth map, is a still image.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        pages = "has several pages" if image.format == "TIFF" else "is an animated image"
        raise PictureUnusable(f"{pages}; a still one is needed")


def check_work(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Small pictures in files that take memory or hours. Raises PictureUnusable."""
    if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_SCANS:
        raise PictureUnusable(f"is drawn in more than {MAX_SCANS} scans")
    if image.format == "TIFF":
        told = image.tag_v2  # type: ignore[attr-defined]
        width, height = told.get(TILE_WIDTH, 0), told.get(TILE_LENGTH, 0)
        if width * height > max_pixels:
            raise PictureUnusable(f"is stored in tiles of {width} × {height} pixels")


def turn(image: Image.Image) -> Image.Image:
    """Upright: cameras write which way is up instead of turning the pixels."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken notes do not make a picture unreadable
        return image


def convert(image: Image.Image) -> Image.Image:
    """A loaded picture of any kind of pixels as RGB or RGBA. Raises PictureUnusable."""
    if (numbers := _UNTOLD.get(image.mode)) is not None:
        raise PictureUnusable(f"is made of {numbers}; 8 or 16 bit for each channel are needed")
    profile, alpha = image.info.get("icc_profile"), None
    if image.mode.startswith("I;16"):
        image, alpha = halve_depth(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    colour = to_srgb(image, profile) if profile else image.convert("RGB")
    if alpha is not None:
        colour.putalpha(alpha)
    return colour


def halve_depth(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Grey of 16 bit as L, which Pillow itself would cut off above 255, and its alpha, if any."""
    codes = np.asarray(image, np.uint16)
    grey = Image.fromarray((codes >> 8).astype(np.uint8))
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grey, None
    return grey, Image.fromarray(np.where(codes == clear, 0, 255).astype(np.uint8))


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """RGB by the colour profile of the file, which is passed over where it is of no use."""
    own = image if image.mode in ("L", "CMYK") else image.convert("RGB")
    try:
        change = build_transform(profile, own.mode)
    except ImageCms.PyCMSError:  # broken, or for another kind of pixels than these
        change = None
    if change is None:
        return image.convert("RGB")
    return ImageCms.applyTransform(own, change) or own


@functools.lru_cache(maxsize=32)
def build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None for what is sRGB already. Raises ImageCms.PyCMSError."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except OSError as error:
        raise ImageCms.PyCMSError("no profile") from error
    change = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "CMYK":
        return change
    sample = draw_lattice().convert(mode)
    changed = ImageCms.applyTransform(sample, change)
    assert changed is not None
    moved = np.asarray(ImageChops.difference(changed, sample.convert("RGB"))).max()
    return None if moved <= SAME_CODES else change


def draw_lattice() -> Image.Image:
    """Every 15th code of each channel with every one of the others: 18³ pixels."""
    codes = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(codes, codes, codes, indexing="ij"), axis=-1)
    return Image.fromarray(cube.reshape(18, -1, 3))


def as_alpha(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with a mask (L) as its alpha, but where it is transparent itself."""
    alpha = mask
    if image.mode == "RGBA":
        alpha = ImageChops.darker(mask, image.getchannel("A"))
    marked = image.convert("RGB")
    marked.putalpha(alpha)
    return marked


def tell_formats(formats: tuple[str, ...] | None) -> str:
    if formats is None:
        return "a picture"
    names = ["WebP" if name == "WEBP" else name for name in formats]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


def tell_too_large(size: str, max_pixels: int) -> str:
    return f"is {size}; at most {max_pixels // 1_000_000} megapixels are allowed"
