"""Whether the light of a picture is right.

A dark product is no dark picture, and a coloured product no colour cast: what is looked at is how
light the lightest is, how dark the darkest, and whether what should be white is white.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.cutout import border_colour, grow
from server.core import Pixels
from server.enhancement.nouns import Mask, Measure, Picture

LIGHTEST, DARKEST = 99.0, 1.0  # percentiles
DARK_FOUND = 165.0  # codes of the lightest; no drawing and no scene is below 187
ALONE_DARK_FOUND = 110.0  # of a product without surroundings, which may be dark itself
FLAT, ALONE_FLAT = (190.0, 60.0), (182.0, 75.0)  # no lighter than the one nor darker than the other
BURNT_FOUND = 0.5  # of the product is cut off at white
NEAR_WHITE = 175  # codes of the lightest channel of a border that was white once
TINT_FOUND, TINT_WANTED = 0.045, 0.35  # less is white, more is a colour that was meant
AS_WHITE = 250  # codes of the lightest channel of a border that is as light as white
LIGHTER = 6  # codes by which a product may be lighter than a tinted white
GREY, GREY_SHARE = 0.035, 0.01  # the saturation that greys have at most; of a product's pixels
COPY_SIDE = 256  # pixels


@dataclass(frozen=True, slots=True)
class Light:
    """`white` and `black` in codes of luma and of the lightest channel; `burnt` is the share of the
    product that is white; `tint` is what white looks like, if it can be told."""

    white: float
    black: float
    burnt: float
    has_surroundings: bool
    tint: NDArray[np.float64] | None


def measure_light(picture: Picture) -> Light:
    seen = picture.rgb.reshape(-1, 3)
    product, border = seen, None
    if picture.is_cut_out and picture.alpha is not None:
        seen = product = _or_all(seen, (picture.alpha > 250).ravel())
    elif (border := border_colour(picture.rgb)) is not None:
        is_product = np.abs(seen.astype(np.int16) - border).max(axis=1) > 24
        product = _or_all(seen, is_product)
    return Light(
        white=float(np.percentile(seen.max(axis=1), LIGHTEST)),
        black=float(np.percentile(product @ np.array([0.299, 0.587, 0.114]), DARKEST)),
        burnt=float((product.min(axis=1) >= 253).mean()),
        has_surroundings=not picture.is_cut_out,
        tint=None if border is None else find_tint(border.astype(np.float64), picture.rgb),
    )


def _or_all(pixels: Pixels, chosen: Mask) -> Pixels:
    return pixels[chosen] if chosen.sum() >= 64 else pixels


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
    image = Image.fromarray(rgb)
    image.thumbnail((COPY_SIDE, COPY_SIDE), Image.Resampling.BOX)
    small = np.asarray(image)
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
    if light.burnt > BURNT_FOUND:
        words = f"too bright: {light.burnt:.0%} of the product is cut off at white"
        return Measure(float(light.burnt), True, words)
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
