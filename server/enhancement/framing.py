"""Where the product stands in its frame, and before what.

Looked at in a small copy, in which noise and blocks have gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from diffusion.composition import as_share, find_box
from diffusion.cutout import TOLERANCE, border_colour, flood_from_border
from server.core import Pixels
from server.enhancement.detail import slope
from server.enhancement.nouns import Mask, Measure, Picture, Plane

SIDE = 128  # pixels, the longest of the copy
RING = 0.2  # of the frame, along which the background is looked at
STEEP = 7.0  # codes a pixel of the copy: more is no gradient of light
PLAIN_SHARE = 0.55  # of the border: a product that is cut off hides the rest of it
CLUTTER_FOUND = 0.09  # of the ring that is steep; gradients of light have at most 0.02
OFF_FOUND = 0.08  # of the frame, from the middle
CUT_FOUND = 0.12  # of the product's own width or height that lies along the frame


@dataclass(frozen=True, slots=True)
class Framing:
    """`alpha` [h, w] of the small copy, None where the product was not found; `clutter` is the
    share of the background at the frame that is restless."""

    alpha: Plane | None
    clutter: float
    is_plain: bool


def look_at_framing(picture: Picture, alpha: Plane | None = None) -> Framing:
    """`alpha` [H, W] is where a matting model sees the product, where that was asked."""
    if picture.is_cut_out:
        assert picture.alpha is not None
        return Framing(shrink_plane(as_share(picture.alpha)), 0.0, True)
    small = shrink(picture.rgb)
    solid = tell_from_ground(small)
    if solid is not None and not is_ground(solid):
        return Framing(solid.astype(np.float32), 0.0, True)
    is_plain = border_colour(small) is not None
    found = None if alpha is None else shrink_plane(alpha)
    return Framing(found, 0.0 if is_plain else measure_clutter(small, found), is_plain)


def has_plain_ground(picture: Picture) -> bool:
    """Whether the product is known without a model: by its own alpha, or a plain border."""
    return picture.is_cut_out or border_colour(shrink(picture.rgb)) is not None


def tell_from_ground(small: Pixels) -> Mask | None:
    """What stands out from a background of one colour, of which most of the border is enough."""
    if (colour := find_ground(small)) is None:
        return None
    outside = flood_from_border(np.abs(small.astype(np.int16) - colour).max(axis=-1) <= TOLERANCE)
    return None if outside.mean() > 0.995 else ~outside


def find_ground(small: Pixels) -> NDArray[np.float64] | None:
    """The colour [3] that most of the border has, if any."""
    edges = (small[0], small[-1], small[:, 0], small[:, -1])
    border = np.concatenate(edges).astype(np.int16)
    colour = np.median(border, axis=0)
    is_like = np.abs(border - colour).max(axis=-1) <= TOLERANCE
    return colour if is_like.mean() >= PLAIN_SHARE else None


def is_ground(solid: Mask) -> bool:
    """Whether what stands out from a plain border is a floor or a wall and no product."""
    touched = solid[0].any(), solid[-1].any(), solid[:, 0].any(), solid[:, -1].any()
    return sum(touched) >= 3


def measure_clutter(small: Pixels, alpha: Plane | None) -> float:
    """Share of the ring along the frame in which light or colour change abruptly; where the product
    is known, without it."""
    steep = np.max([slope(small[..., channel].astype(np.float32)) for channel in range(3)], axis=0)
    height, width = steep.shape
    reach = max(2, round(RING * min(height, width)))
    ring = np.ones((height, width), np.bool_)
    ring[reach:-reach, reach:-reach] = False
    ring[:1] = ring[-1:] = False
    ring[:, :1] = ring[:, -1:] = False
    if alpha is not None:
        ring &= alpha < 0.05
    return float((steep[ring] > STEEP).mean()) if ring.any() else 0.0


def judge_background(framing: Framing) -> Measure:
    if framing.is_plain:
        return Measure(0.0, False, "a plain background")
    words = f"{framing.clutter:.0%} of the surroundings are restless"
    score = float(np.clip(framing.clutter * 2, 0, 1))
    return Measure(score, framing.clutter >= CLUTTER_FOUND, words)


def judge_centre(framing: Framing) -> Measure:
    if (offset := find_offset(framing.alpha)) is None:
        return Measure(0.0, False, "no product was told from its background")
    down, across = offset
    far = max(abs(down), abs(across))
    words = f"{abs(across):.0%} to the {'right' if across > 0 else 'left'} and "
    words += f"{abs(down):.0%} {'below' if down > 0 else 'above'} the middle"
    return Measure(float(np.clip(far * 3, 0, 1)), far >= OFF_FOUND, words)


def judge_cut(framing: Framing) -> Measure:
    alpha = framing.alpha
    if alpha is None or not (solid := alpha > 0.5).any():
        return Measure(0.0, False, "no product was told from its background")
    rows, columns = find_box(solid)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    touched = {
        "top": solid[0].sum() / width,
        "bottom": solid[-1].sum() / width,
        "left": solid[:, 0].sum() / height,
        "right": solid[:, -1].sum() / height,
    }
    side, share = max(touched.items(), key=lambda each: each[1])
    words = f"{share:.0%} of it lies along the {side} edge" if share else "free on all sides"
    return Measure(float(np.clip(share, 0, 1)), bool(share >= CUT_FOUND), words)


def find_offset(alpha: Plane | None) -> tuple[float, float] | None:
    """How far below and right of the middle the product's box is, in shares of the frame."""
    if alpha is None or not (solid := alpha > 0.5).any():
        return None
    rows, columns = find_box(solid)
    height, width = solid.shape
    return (
        (rows.start + rows.stop - height) / (2 * height),
        (columns.start + columns.stop - width) / (2 * width),
    )


def shrink(rgb: Pixels) -> Pixels:
    image = Image.fromarray(rgb)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image.filter(ImageFilter.MedianFilter(3)))  # against what noise is left


def shrink_plane(plane: Plane) -> Plane:
    image = Image.fromarray(plane.astype(np.float32))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image)
