"""Finds product beyond a product's outline: what a generated one leaves where it grew too large.

Looked for at 128 px, in a finished creative: a pixel beyond the outline is product where it is much
nearer in colour to the product's edge than to what is further out, and hangs together with the
product. No network takes part, so it costs a few milliseconds. Not below the line that the product
stands on, where its shadow is; and what has grown by a third or more is found in most cases only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.composition import CENTRE, contact_shadow, place, to_linear, to_srgb
from diffusion.cutout import fill_runs
from server.core import Pixels
from server.imaging.frame import Frame
from server.imaging.surroundings import fill

SIDE = 128
REACH = 14
"""Growth is looked for so far from the product, in pixels of SIDE."""

BEYOND = 8
"""So much further it is not product, or hardly any."""

STRAY_SHARE = 0.03
"""Of the colours beyond, the nearest that do not count: a grown product may reach there."""

NEARER = 0.6
"""Distance in colour to the product's edge, at most, where that to the surroundings is 1."""

MIN_CONTRAST = 30.0
"""Between product and surroundings; less of a difference can't be seen either."""

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a product at 128 px: `area` in pixels, its `edge` [128, 128, 3] as colour
    that goes on outwards, the light that its shadow leaves [128, 128, 1], and masks from the inside
    out: the product, a ring around it, and what is surely beyond."""

    area: int
    edge: Plane
    light: Plane
    product: Mask
    ring: Mask
    beyond: Mask

    @classmethod
    def of(cls, cutout: NDArray[np.uint8]) -> Outline:
        rgb, alpha = place(cutout, SIDE)
        product = grow(alpha > 0.02, 1)
        reach = grow(product, REACH)
        edge = fill(rgb, ~(alpha > 0.95)).astype(np.float32)
        light = contact_shadow(alpha)[..., None]
        beyond = grow(reach, BEYOND) & ~reach
        above = np.arange(SIDE)[:, None] < CENTRE.ground * SIDE - 1  # below there are shadows
        area = int((alpha > 0.5).sum())
        return cls(max(1, area), edge, light, product, reach & ~product & above, beyond & above)

    def find_growth(self, pixels: Pixels, frame: Frame, surroundings: Pixels) -> float:
        """In % of the product's area, in a creative [H, W, 3] on this frame: area(found ∪ mask) -
        area(mask), as in Eshratifar et al., Salient Object-Aware Background Generation (2024).

        `surroundings` [S, S, 3] are those of the square, whole and without the product.
        """
        shown, seen = look(pixels, frame)
        lit = to_srgb(to_linear(shown) / self.light)
        side = len(surroundings)
        around, _ = look(surroundings, Frame.around(side, side))
        found = self._compare(np.where(seen[..., None], lit, around), self.ring & seen)
        return 100 * float(self._connect(found).sum()) / self.area

    def _compare(self, shown: Pixels, where: Mask) -> Mask:
        """Pixels that look like the product's edge."""
        usual = fill(shown, ~self.beyond).astype(np.float32)
        ahead, step = shown - usual, self.edge - usual
        contrast = np.einsum("hwc,hwc->hw", step, step)
        is_ahead = np.einsum("hwc,hwc->hw", ahead, step) > 0.5 * contrast
        rows, columns = np.nonzero(where & is_ahead & (contrast > MIN_CONTRAST**2))
        found, others = np.zeros_like(where), shown[self.beyond][::3].astype(np.float32)
        if not len(others):
            return found
        mine = shown[rows, columns].astype(np.float32)
        to_edge = ((mine - self.edge[rows, columns]) ** 2).sum(axis=-1)
        found[rows, columns] = to_edge < NEARER**2 * find_nearest(mine, others)
        return found

    def _connect(self, found: Mask) -> Mask:
        """Those that hang together with the product."""
        is_open, reached, count = found | self.product, self.product, -1
        while (now := int(reached.sum())) != count:
            count = now
            reached = fill_runs(is_open, reached)
            reached = fill_runs(is_open.T, reached.T).T
        return reached & ~self.product


def grow(mask: Mask, steps: int) -> Mask:
    """The mask [H, W] and everything within so many pixels of it, across corners too."""
    return grow_rows(grow_rows(mask, steps).T, steps).T


def grow_rows(mask: Mask, steps: int) -> Mask:
    """Along its rows: where a window of 2 * steps + 1 pixels holds some."""
    counts = np.cumsum(np.pad(mask, ((0, 0), (steps + 1, steps))), axis=1, dtype=np.int32)
    return counts[:, 2 * steps + 1 :] > counts[:, : -2 * steps - 1]


def look(pixels: Pixels, frame: Frame) -> tuple[Pixels, Mask]:
    """The frame's square at 128 px, and which of it is in the picture."""
    square = frame.square
    scale = square.side / SIDE
    columns, across = measure(square.left, frame.width, scale)
    rows, down = measure(square.top, frame.height, scale)
    shown, seen = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.bool_)
    size = columns.stop - columns.start, rows.stop - rows.start
    if min(size) > 0:
        box = across[0], down[0], across[1], down[1]
        # Several pixels at once first: exact where they are as many as a pixel of SIDE has.
        part = Image.fromarray(pixels).resize(size, Image.Resampling.BOX, box, reducing_gap=2.0)
        shown[rows, columns], seen[rows, columns] = np.asarray(part), True
    return shown, seen


def measure(at: int, length: int, scale: float) -> tuple[slice, tuple[float, float]]:
    """Which pixels of SIDE are wholly in a picture that begins `at` so far before its square, and
    from where to where in the picture they reach."""
    first = max(0, math.ceil(-at / scale))
    last = min(SIDE, math.floor((length - at) / scale))
    return slice(first, last), (max(0.0, at + first * scale), min(length, at + last * scale))


def find_nearest(colours: Plane, others: Plane) -> Plane:
    """Squared distance of each colour [n, 3] to the nearest of the others [m, 3]; strays don't
    count."""
    rank = int(STRAY_SHARE * len(others))
    products = colours @ others.T
    squares = (colours**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * products
    return np.asarray(np.partition(squares, rank, axis=1)[:, rank], np.float32)
