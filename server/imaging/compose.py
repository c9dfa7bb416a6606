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
    """Generated pixels [S, S, 3] and a cut-out packshot [H, W, 4] → the creative [side, side, 3].

    In PRESERVE the product is pasted at its own resolution; where it is opaque its codes are the
    packshot's.
    """
    if mode is Mode.RESTYLE:
        return resize(pixels, side)
    layers = LAYERS.find(cutout, side, pixels.shape[0])
    return layers.overlay.put_over(resize(fill(pixels, layers.hole), side))


def resize(pixels: Pixels, side: int) -> Pixels:
    if pixels.shape[0] == side:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def fill(pixels: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    """Fills the hole [S, S] with what is around it, the nearest first, S a power of two.

    Pull-push (Gortler et al., The Lumigraph, 1996, section 3.4).
    """
    known = np.where(hole, 0.0, 1.0).astype(np.float32)[..., None]
    filled = pull_push(pixels * known, known)
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
