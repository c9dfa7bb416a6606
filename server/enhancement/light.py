"""Whether the light of a picture is right.

A dark product is no dark picture, and a coloured product no colour cast: what is looked at is how
light the lightest is, how dark the darkest, and whether what should be white is white.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.cutout import TOLERANCE, border_colour, flood_from_border, grow
from server.core import Pixels
from server.enhancement.nouns import Mask, Measure, Picture

LIGHTEST, DARKEST = 99.0, 1.0  # percentiles
DARK_FOUND = 165.0  # codes of the lightest; no drawing and no scene is below 187
ALONE_DARK_FOUND = 110.0  # of a product without surroundings, which may be dark itself
FLAT, ALONE_FLAT = (190.0, 60.0), (182.0, 75.0)  # no lighter than the one nor darker than the other
CUT_OFF = 254  # codes from which on a channel's light is taken to be cut off
TINGED = 245  # codes of the lowest channel of what is not simply white
BURNT_FOUND = 0.75  # of the product is white; that much of a white one may be
BLEACHED_FOUND = 0.02  # of the product has two channels cut off; clean colours have one
BELOW_CUT = 242  # codes: shading that ends by itself goes through what is between
GAP_FOUND, GAP_CUT = 0.006, 0.2  # no more of the product is there, and that much beyond in colour
EMPTY = 0.005  # of the picture: less is no product
LEAST_SCORE = 0.3  # of what is found
NEAR_WHITE = 175  # codes of the lightest channel of a border that was white once
TINT_FOUND, TINT_WANTED = 0.045, 0.35  # less is white, more is a colour that was meant
AS_WHITE = 250  # codes of the lightest channel of a border that is as light as white
LIGHTER = 6  # codes by which a product may be lighter than a tinted white
GREY, GREY_SHARE = 0.035, 0.01  # the saturation that greys have at most; of a product's pixels
COPY_SIDE = 256  # pixels
MAX_SEEN = 1_048_576  # pixels that percentiles are of


@dataclass(frozen=True, slots=True)
class Clipping:
    """Shares of the product: white, cut off in two channels of three, in any, and nearly so.
    `is_gone` where nothing of it stands out from white."""

    burnt: float
    bleached: float
    cut: float
    near: float
    is_gone: bool = False

    @property
    def is_found(self) -> bool:
        has_gap = self.near < GAP_FOUND and self.cut - self.burnt > GAP_CUT
        is_bleached = self.bleached > BLEACHED_FOUND
        return self.is_gone or self.burnt > BURNT_FOUND or is_bleached or has_gap


@dataclass(frozen=True, slots=True)
class Light:
    """`white` and `black` in codes of luma and of the lightest channel; `tint` is what white looks
    like, if it can be told."""

    white: float
    black: float
    clipping: Clipping
    has_surroundings: bool
    tint: NDArray[np.float64] | None


def measure_light(picture: Picture) -> Light:
    seen = thin(picture.rgb).reshape(-1, 3)
    product, border = seen, None
    if picture.is_cut_out and picture.alpha is not None:
        seen = product = _or_all(seen, (thin(picture.alpha) > 250).ravel())
    elif (border := border_colour(picture.rgb)) is not None:
        is_product = np.abs(seen.astype(np.int16) - border).max(axis=1) > 24
        product = _or_all(seen, is_product)
    return Light(
        white=float(np.percentile(seen.max(axis=1), LIGHTEST)),
        black=float(np.percentile(product @ np.array([0.299, 0.587, 0.114]), DARKEST)),
        clipping=measure_clipping(picture),
        has_surroundings=not picture.is_cut_out,
        tint=None if border is None else find_tint(border.astype(np.float64), picture.rgb),
    )


def thin(pixels: Pixels) -> Pixels:
    """Pixels of [H, W, ...] at even distances where there are more than MAX_SEEN: light
    and grain are those of all."""
    step = math.ceil(math.sqrt(pixels.shape[0] * pixels.shape[1] / MAX_SEEN))
    return pixels[::step, ::step]


def _or_all(pixels: Pixels, chosen: Mask) -> Pixels:
    return pixels[chosen] if chosen.sum() >= 64 else pixels


def measure_clipping(picture: Picture) -> Clipping:
    """How much light of the product is cut off, in a copy in which grain has gone.

    White itself tells nothing, for the ground is white and a product may be. But light that is too
    much takes one channel after the other, and leaves a gap below: what was nearly white is beyond.
    """
    small = _shrink(picture.rgb)
    if picture.is_cut_out and picture.alpha is not None:
        is_product = _shrink(picture.alpha) > 250
    elif (border := border_colour(small)) is not None:
        is_ground = np.abs(small.astype(np.int16) - border).max(axis=-1) <= TOLERANCE
        is_product = ~flood_from_border(is_ground)
        if border.min() >= CUT_OFF and is_product.mean() < EMPTY:
            return Clipping(1.0, 0.0, 1.0, 0.0, is_gone=True)
    else:
        is_product = np.ones(small.shape[:2], np.bool_)
    lowest, middle, highest = np.sort(_or_all(small.reshape(-1, 3), is_product.ravel())).T
    return Clipping(
        burnt=float((lowest >= CUT_OFF).mean()),
        bleached=float(((middle >= CUT_OFF) & (lowest < TINGED)).mean()),
        cut=float((highest >= CUT_OFF).mean()),
        near=float(((highest >= BELOW_CUT) & (highest < CUT_OFF)).mean()),
    )


def _shrink(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels)
    image.thumbnail((COPY_SIDE, COPY_SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def find_tint(border: NDArray[np.float64], rgb: Pixels) -> NDArray[np.float64] | None:
    """What white looks like by a plain border, or None where that border is of a colour that was
    meant, or nobody can tell.

    Coloured light gives white and grey one tint, and nothing is lighter than white in any channel;
    before a coloured wall the greys of a product stay grey. Where a product has no greys, a border
    that is as light as white counts for it.
    """
    if border.max() < NEAR_WHITE:
        return None
    if border.min() >= (1 - TINT_FOUND) * border.max():
        return border
    small = _shrink(rgb)
    is_near = np.abs(small.astype(np.int16) - border).max(axis=-1) <= 24
    product = small[~grow(is_near, 2)].astype(np.float64)
    product = product[product.max(axis=1) > 40]
    if len(product) < 64 or (np.percentile(product, 99.5, axis=0) > border + LIGHTER).any():
        return None
    num_tinted = int((saturate(product / border) < GREY).sum())
    num_grey = int((saturate(product) < GREY).sum())
    enough = GREY_SHARE * len(product)
    if num_tinted >= enough:
        return border if num_tinted > 2 * num_grey else None
    return border if num_grey < enough and border.max() >= AS_WHITE else None


def saturate(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Saturation [n] of colours [n, 3], 0 for greys."""
    highest = colours.max(axis=1)
    return np.asarray((highest - colours.min(axis=1)) / highest)


def judge_exposure(light: Light) -> Measure:
    least = DARK_FOUND if light.has_surroundings else ALONE_DARK_FOUND
    if light.white < least:
        words = f"too dark: the lightest is {light.white:.0f}/255"
        return Measure(float(np.clip(1 - light.white / 255, 0, 1)), True, words)
    white, black = FLAT if light.has_surroundings else ALONE_FLAT
    if light.white < white and light.black > black:
        words = f"too flat: from {light.black:.0f} to {light.white:.0f} of 255"
        return Measure(float(np.clip(1 - (light.white - light.black) / 255, 0, 1)), True, words)
    if (clipping := light.clipping).is_found:
        words = f"too bright: light is cut off on {clipping.cut:.0%} of the product"
        if clipping.is_gone:
            words = "too bright: nothing stands out from white"
        return Measure(max(clipping.cut, LEAST_SCORE), True, words)
    score = 0.3 * float(np.clip((230 - light.white) / 65, 0, 1))
    return Measure(score, False, f"from {light.black:.0f} to {light.white:.0f} of 255")


def judge_cast(light: Light) -> Measure:
    if light.tint is None:
        return Measure(0.0, False, "nothing that should be white")
    white = light.tint
    chroma = float((white.max() - white.min()) / max(white.max(), 1.0))
    words = "white is ({:.0f}, {:.0f}, {:.0f})".format(*white)
    is_found = TINT_FOUND <= chroma <= TINT_WANTED
    return Measure(float(np.clip(2.5 * chroma, 0, 1)) if is_found else 0.0, is_found, words)
