"""Whether a creative may be shown: what is wrong with it, by name.

The limits were set on creatives of the embedded model: of 304, each for another product and a
taste, five are refused. These grew by 4.8 % and more, and none by between 0.5 and that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.creative import Fidelity
from server.imaging.compose import Composition
from server.imaging.fidelity import find_luma
from server.imaging.frame import find_middle
from server.safety import SafetyCheck

FLOOR = 20.0
"""Contrast in codes below which fine noise counts for less."""

CHANGED, GREW, BLURRED = "product_changed", "product_grew", "blurred"
BLANK, BROKEN = "blank", "broken"

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_difference` in codes, `max_growth_percent` of the product's area. `min_sharpness` is a
    variance of the Laplacian and `min_contrast` a standard deviation, in codes, of the generated
    picture. `max_roughness`: how much a pixel of the surroundings may differ from the mean of its
    neighbours, as a share of their contrast; noise and stripes do by more than 1."""

    max_difference: int = 0
    max_growth_percent: float = 2.0
    min_sharpness: float = 5.0
    min_contrast: float = 6.0
    max_roughness: float = 0.7


LIMITS = Limits()


def verify(
    composition: Composition,
    fidelity: Fidelity,
    limits: Limits = LIMITS,
    safety: SafetyCheck | None = None,
) -> tuple[str, ...]:
    """What is wrong; nothing where the creative is good. Raises what the safety check raises."""
    reasons = []
    if fidelity.max_difference is not None and fidelity.max_difference > limits.max_difference:
        reasons.append(CHANGED)
    if fidelity.growth_percent is not None and fidelity.growth_percent > limits.max_growth_percent:
        reasons.append(GREW)
    if (fault := find_fault(composition, fidelity.sharpness, limits)) is not None:
        reasons.append(fault)
    if safety is not None:
        reasons += safety.check(composition.pixels)
    return tuple(dict.fromkeys(reasons))


def find_fault(composition: Composition, sharpness: float, limits: Limits) -> str | None:
    """What is wrong with the generated picture as a picture."""
    pixels = composition.generated
    if float(pixels.std(axis=(0, 1)).max()) < limits.min_contrast:
        return BLANK
    if find_roughness(composition) > limits.max_roughness:
        return BROKEN
    return BLURRED if sharpness < limits.min_sharpness else None


def find_roughness(composition: Composition) -> float:
    """Of the surroundings, along rows or columns, whichever is rougher: the variance of second
    differences over that of the luma."""
    y = find_luma(composition.generated)
    around = find_surroundings(composition)
    if around.shape != y.shape:  # measured at a smaller size, where the product matters less
        around = np.ones(y.shape, np.bool_)
    if not around[1:-1, 1:-1].any():
        return 0.0
    contrast = float(y[around].var()) + FLOOR**2
    across, down = np.diff(y, 2, axis=1)[around[:, 1:-1]], np.diff(y, 2, axis=0)[around[1:-1]]
    return max(float(across.var()), float(down.var())) / contrast


def find_surroundings(composition: Composition) -> Mask:
    """Where the generated picture [h, w] does not show the product."""
    height, width = composition.generated.shape[:2]
    around = np.ones((height, width), np.bool_)
    if composition.layers is not None:
        own = find_middle(width, height)
        around[own.slices] = ~composition.layers.hole
    return around
