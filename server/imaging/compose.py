"""The creative: generated surroundings with the product's own pixels over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.core import Mode, Pixels
from server.imaging.layers import LayersKept

LAYERS = LayersKept()

Plane = NDArray[np.float32]


def compose(pixels: Pixels, cutout: NDArray[np.uint8], side: int, mode: Mode) -> Pixels:
    """Generated pixels [h, w, 3] and a cut-out packshot [H, W, 4] → the creative, whose longest
    side is `side`.

    In PRESERVE the product is pasted at its own resolution; where it is opaque its codes are the
    packshot's. It stands in the square in the middle.
    """
    if mode is Mode.RESTYLE:
        return resize(pixels, side)
    own, shown = find_square(*pixels.shape[:2]), find_square(*scale(pixels, side))
    layers = LAYERS.find(cutout, shown[0].stop - shown[0].start, own[0].stop - own[0].start)
    emptied = pixels.copy()
    emptied[own] = fill(pixels[own], layers.hole)
    creative = resize(emptied, side)
    creative[shown] = layers.overlay.put_over(creative[shown])
    return creative


def scale(pixels: Pixels, side: int) -> tuple[int, int]:
    """Height and width with the same proportions, the longer one being `side`."""
    height, width = pixels.shape[:2]
    return round(side * height / max(height, width)), round(side * width / max(height, width))


def find_square(height: int, width: int) -> tuple[slice, slice]:
    """The largest square in the middle: rows and columns."""
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


def resize(pixels: Pixels, side: int) -> Pixels:
    """The picture with `side` as its longest side."""
    height, width = scale(pixels, side)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def fill(pixels: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    """Fills the hole [S, S] with what is around it, the nearest first.

    Pull-push (Gortler et al., The Lumigraph, 1996, section 3.4).
    """
    side = len(pixels)
    room = (1 << (side - 1).bit_length()) - side  # its halves must be whole: nothing is known there
    known = np.where(hole, 0.0, 1.0).astype(np.float32)[..., None]
    around = ((0, room), (0, room), (0, 0))
    filled = pull_push(np.pad(pixels * known, around), np.pad(known, around))[:side, :side]
    return np.where(hole[..., None], np.clip(np.rint(filled), 0, 255), pixels).astype(np.uint8)


def pull_push(colour: Plane, weight: Plane) -> Plane:
    """Weighted colour [S, S, 3] and weight [S, S, 1] → colour everywhere."""
    own = np.asarray(colour / np.maximum(weight, 1e-6), np.float32)
    if len(colour) == 1:
        return own
    coarse = pull_push(halve(colour), halve(weight))
    share = np.minimum(weight, 1.0)
    return np.asarray(share * own + (1 - share) * double(coarse), np.float32)


def halve(plane: Plane) -> Plane:
    """Sums of two by two: slices add up faster than an axis of two is summed."""
    rows = plane[::2] + plane[1::2]
    return np.asarray(rows[:, ::2] + rows[:, 1::2], np.float32)


def double(plane: Plane) -> Plane:
    size = (2 * len(plane), 2 * len(plane))
    channels = (Image.fromarray(c) for c in np.moveaxis(plane, 2, 0))
    return np.stack([np.asarray(c.resize(size, Image.Resampling.BILINEAR)) for c in channels], 2)
