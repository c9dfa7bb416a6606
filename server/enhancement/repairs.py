"""Light, colour, background, place and size: pixels in, pixels out, without a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.composition import find_box, to_linear, to_srgb
from diffusion.cutout import border_colour
from diffusion.filling import fill_holes
from server.core import Pixels
from server.enhancement.light import measure_light
from server.enhancement.nouns import Mask, Picture

WHITE, BLACK = 250.0, 12.0  # codes that the lightest and the darkest come to
SEEN = 8  # of alpha, from which on a colour counts
SAME = 3  # codes by which a plain background may vary
UNITS = 4  # of the difference map's codes for one of the picture's


def correct_exposure(picture: Picture) -> Picture:
    """The lightest becomes white, and in a flat picture the darkest black. What is burnt out is
    lost, and stays as it is."""
    light = measure_light(picture)
    if light.white >= WHITE:
        return picture
    border = None if picture.is_cut_out else border_colour(picture.rgb)
    # A plain border is what should be white; grain makes the lightest lighter than it is.
    white = light.white if border is None else max(float(border.max()), light.black + 1)
    black = light.black if light.black > 4 * BLACK else 0.0
    scale = (WHITE if border is None else 255.0) - (BLACK if black else 0.0)
    codes = (np.arange(256) - black) / max(white - black, 1.0) * scale + (BLACK if black else 0.0)
    table = np.rint(codes).clip(0, 255).astype(np.uint8)
    return Picture(table[picture.rgb], picture.alpha)


def correct_cast(picture: Picture) -> Picture:
    """What should be white loses its tint (von Kries, in linear light)."""
    tint = measure_light(picture).tint
    if tint is None:
        return picture
    linear = to_linear(np.arange(256, dtype=np.uint8))
    white = to_linear(np.rint(tint).astype(np.uint8))
    gains = white.max() / np.maximum(white, 1e-4)
    channels = [to_srgb(linear * gain)[picture.rgb[..., i]] for i, gain in enumerate(gains)]
    return Picture(np.stack(channels, axis=-1), picture.alpha)


def fill_hidden(picture: Picture) -> Pixels:
    """Colours [H, W, 3] that go on where nothing is seen, so that a model is not shown junk."""
    if picture.alpha is None:
        return picture.rgb
    return fill_holes(picture.rgb, picture.alpha < SEEN)


def fill_marked(picture: Picture, mask: Mask) -> Picture:
    """What a mask [H, W] marks, alpha as well, continued from what is around it."""
    rgb = fill_holes(picture.rgb, mask)
    if picture.alpha is None:
        return Picture(rgb)
    alpha = fill_holes(np.repeat(picture.alpha[..., None], 3, axis=-1), mask)[..., 0]
    return Picture(rgb, alpha)


def find_unfinished(filled: Picture, mask: Mask) -> Mask:
    """Where what is filled in [H, W] is not simply the plain background."""
    if filled.is_cut_out and filled.alpha is not None:
        return mask & (filled.alpha >= SEEN)
    colour = border_colour(filled.rgb)
    if colour is None:
        return mask
    far: Mask = np.abs(filled.rgb.astype(np.int16) - colour).max(axis=-1) > SAME
    return mask & far


def put_on_white(rgba: Pixels) -> Picture:
    return Picture(Picture(rgba[..., :3], rgba[..., 3]).shown())


def recentre(picture: Picture, alpha: Pixels) -> Picture:
    """The product, where alpha [H, W] is, in the middle with even margins; what comes into view is
    transparent, or of the colour of the border."""
    solid = alpha > 127
    if not solid.any():
        return picture
    rows, columns = find_box(solid)
    height, width = picture.size
    down = round((height - rows.start - rows.stop) / 2)
    across = round((width - columns.start - columns.stop) / 2)
    if down == across == 0:
        return picture
    colour = border_colour(picture.rgb)
    ground = np.array([255, 255, 255]) if colour is None else colour
    rgb = shift(picture.rgb, down, across, ground.astype(np.uint8))
    if picture.alpha is None:
        return Picture(rgb)
    return Picture(rgb, shift(picture.alpha, down, across, np.zeros((), np.uint8)))


def shift(pixels: Pixels, down: int, across: int, ground: NDArray[np.uint8]) -> Pixels:
    """[H, W] or [H, W, 3] moved, with `ground` where nothing came from."""
    height, width = pixels.shape[:2]
    moved = np.empty_like(pixels)
    moved[:] = ground
    target = (_span(down, height), _span(across, width))
    source = (_span(-down, height), _span(-across, width))
    moved[target] = pixels[source]
    return moved


def enlarge(picture: Picture, factor: int) -> Picture:
    height, width = picture.size
    size = (width * factor, height * factor)
    kind = Image.Resampling.LANCZOS
    rgb = np.asarray(Image.fromarray(fill_hidden(picture)).resize(size, kind))
    if picture.alpha is None:
        return Picture(rgb)
    # Hamming's weights are never negative: no ring of haze around a cut-out.
    alpha = Image.fromarray(picture.alpha).resize(size, Image.Resampling.HAMMING)
    return Picture(rgb, np.asarray(alpha))


def draw_difference(before: Picture, after: Picture) -> Pixels | None:
    """Where a picture changed [H, W], 255 for a quarter of the range or more, as it is seen on
    white; None where its size did."""
    if before.size != after.size:
        return None
    moved = np.abs(before.shown().astype(np.int16) - after.shown()).max(axis=-1)
    if before.alpha is not None and after.alpha is not None:
        moved = np.maximum(moved, np.abs(before.alpha.astype(np.int16) - after.alpha))
    grey: Pixels = np.minimum(UNITS * moved, 255).astype(np.uint8)
    return grey


def _span(offset: int, length: int) -> slice:
    return slice(max(offset, 0), max(0, min(length, length + offset)))
