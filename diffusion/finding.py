"""Finds the product in a merchant's picture, by whatever tells where it is.

Its own alpha or a mask that came along does; else a plain border is taken for background; before
any other ground a matting model is asked. What nothing tells from its ground is taken whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from diffusion.composition import Pixels, Plane, find_box
from diffusion.cutout import Cutout, MaskSource, Matte, border_colour, cut_from_plain, grow
from diffusion.filling import fill_holes

MAX_SIDE = 2048  # of the picture that is worked on: no creative shows more
MAX_UNCERTAINTY = 0.5  # of a matte that is taken: the other way is to take all of the picture
OPAQUE = 250  # of 255: alpha that is nowhere less tells nothing
LEVELS = 0.2, 0.8  # of a matte, up to and from which it is all ground or all product
CLEAR, SOLID = 0.05, 0.95  # of a matte, up to and from which a colour is one side's own
RIM = 4  # pixels beside the ground in which colours are mixed with it

FindMatte = Callable[[Pixels], Matte]
"""Where a model sees the product in a picture uint8 [H, W, 3]: `find_alpha` of a
diffusion.matting.MattingModel."""


def cut_out(
    image: Image.Image, find_matte: FindMatte | None = None, is_masked: bool = False
) -> Cutout:
    """The product of an opened picture, which was given its alpha as a mask if it `is_masked`."""
    picture = image.convert("RGBA")
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    rgba = np.array(picture)
    if is_masked:
        return Cutout.by_own(rgba, MaskSource.GIVEN)
    return find_product(np.ascontiguousarray(rgba[..., :3]), rgba[..., 3], find_matte)


def find_product(
    rgb: Pixels,
    alpha: Pixels | None = None,
    find_matte: FindMatte | None = None,
    max_uncertainty: float = MAX_UNCERTAINTY,
) -> Cutout:
    """The product of a picture [H, W, 3] whose own alpha is uint8 [H, W], if it has one; a matte of
    which more than `max_uncertainty` is undecided tells nothing."""
    if alpha is not None and alpha.min() < OPAQUE:
        return Cutout.by_own(np.dstack((rgb, alpha)), MaskSource.ALPHA)
    if border_colour(rgb) is not None:
        if (cut := cut_from_plain(rgb)) is not None:
            return Cutout.by_own(cut, MaskSource.PLAIN_GROUND)
    elif find_matte is not None and (matte := find_matte(rgb)).is_sure(max_uncertainty):
        cut = cut_by_matte(rgb, matte.alpha)
        return Cutout(cut, MaskSource.MATTING, matte.uncertainty, found_in=rgb)
    opaque = np.full(rgb.shape[:2], 255, np.uint8)
    return Cutout(np.dstack((rgb, opaque)), MaskSource.WHOLE_PICTURE, 1.0)


def cut_by_matte(rgb: Pixels, alpha: Plane) -> Pixels:
    """[H, W, 3] → RGBA by a matte [H, W] with something in it; half-covered pixels beside the
    ground get the colour of the product beside them."""
    low, high = LEVELS
    rgba = np.zeros((*alpha.shape, 4), np.uint8)
    box = find_box(alpha > low)
    mixed = grow(alpha < CLEAR, RIM) & (alpha < SOLID)
    rgba[box][..., :3] = fill_holes(rgb[box], mixed[box])
    # A network is seldom entirely sure: what it nearly is must not be seen through.
    share = np.clip((alpha[box] - low) / (high - low), 0, 1)
    rgba[box][..., 3] = np.rint(share * 255)
    return rgba
