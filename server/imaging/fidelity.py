"""How true a finished creative is to its product: measured, also where it should be so anyway."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffusion.cutout import Cutout
from server.core import Pixels
from server.creative import Fidelity
from server.imaging.compose import Composition
from server.imaging.encode import shrink
from server.imaging.layers import Placed

MAX_SIDE = 512
"""Sharpness is measured at the size that the model made, but no larger than this."""

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)

Plane = NDArray[np.float32]


def measure(composition: Composition, packshot: Cutout | None = None) -> Fidelity:
    """Of a composition before anything is written over it, by the `packshot` that it was made of.
    Where no pixel of that is opaque there is nothing that must not differ: no difference is told.
    """
    layers, frame, around = composition.layers, composition.frame, composition.surroundings
    difference, growth = None, None
    if layers is not None and around is not None:
        difference = find_difference(composition.pixels, layers.placed.put_in(frame))
        growth = layers.outline.find_growth(composition.pixels, frame, around)
    sharpness = find_sharpness(composition.generated)
    if packshot is None:
        return Fidelity(difference, growth, 0.0, sharpness)
    return Fidelity(difference, growth, packshot.uncertainty, sharpness, packshot.source)


def find_difference(pixels: Pixels, placed: Placed) -> int | None:
    """The largest of a channel inside the eroded mask; None where that is empty."""
    if not placed.core.any():
        return None
    shown = pixels[placed.box]
    difference = np.maximum(shown, placed.rgb) - np.minimum(shown, placed.rgb)
    # Whole channels: picking the pixels of the mask takes ten times as long.
    return max(int((difference[..., c] * placed.core).max()) for c in range(3))


def find_sharpness(pixels: Pixels) -> float:
    """Variance of the Laplacian of the luma."""
    y = find_luma(pixels)
    if min(y.shape) < 3:
        return 0.0
    middle = y[1:-1, 1:-1]
    edges = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * middle
    return float(edges.var())


def find_luma(pixels: Pixels) -> Plane:
    return np.asarray(shrink(pixels, MAX_SIDE) @ LUMA, np.float32)
