"""A product cut out, what told its mask, and how one is told from a plain ground."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from diffusion.composition import Pixels, Plane, as_share

TOLERANCE = 14  # largest channel difference that still counts as the border's colour
OPAQUE_FROM = 48  # a pixel at the edge that differs by more may be entirely product
RIM = 2  # pixels beside the background that may be blended with it
PLAIN_SHARE = 0.9  # of the border that must be of one colour
MIN_SHARE = 0.005  # of the picture that a product covers

Mask = NDArray[np.bool_]


class MaskSource(Enum):
    """What told where in a picture the product is."""

    ALPHA = "alpha"
    GIVEN = "given"
    PLAIN_GROUND = "plain_ground"
    MATTING = "matting"
    WHOLE_PICTURE = "whole_picture"
    """Nothing did: all of it is taken for the product."""


@dataclass(frozen=True, slots=True)
class Matte:
    """`alpha` float32 [H, W] in 0..1, and how much of it is undecided: 4 a (1 - a) summed over the
    picture, as a share of the product's area (the sum of alpha, at least one pixel). 0 is a clean
    cut; a soft edge of a few pixels gives some hundredths; above about 0.5 do not trust it."""

    alpha: Plane
    uncertainty: float

    @classmethod
    def of(cls, alpha: Plane) -> Matte:
        undecided = float((4 * alpha * (1 - alpha)).sum(dtype=np.float64))
        return cls(alpha, undecided / max(float(alpha.sum(dtype=np.float64)), 1.0))

    def is_sure(self, max_uncertainty: float) -> bool:
        """Whether there is something in it, and no more than that share of it is undecided."""
        share = float((self.alpha > 0.5).mean())
        return share > MIN_SHARE and self.uncertainty <= max_uncertainty


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Cutout:
    """A product as RGBA uint8 [H, W, 4], what told its mask, and how much of that is undecided, as
    in `Matte`; 1 where nothing told it. `found_in` [H, W, 3] is the picture in which a model found
    it."""

    pixels: Pixels
    source: MaskSource
    uncertainty: float
    found_in: Pixels | None = None

    @classmethod
    def by_own(cls, pixels: Pixels, source: MaskSource) -> Cutout:
        """By the alpha that the pixels have."""
        return cls(pixels, source, Matte.of(as_share(pixels[..., 3])).uncertainty)

    @property
    def original(self) -> Pixels:
        """The picture as its merchant shows it [H, W, 3 or 4]: what a model cut out is not that."""
        return self.pixels if self.found_in is None else self.found_in

    @property
    def num_bytes(self) -> int:
        return self.pixels.nbytes + (0 if self.found_in is None else self.found_in.nbytes)


def cut_from_plain(rgb: Pixels) -> Pixels | None:
    """[H, W, 3] → RGBA where a plain border says what is background; else None."""
    colour = border_colour(rgb)
    if colour is None:
        return None
    difference = np.abs(rgb.astype(np.int16) - colour).max(axis=-1)
    outside = flood_from_border(difference <= TOLERANCE)
    if outside.mean() > 1 - MIN_SHARE:  # nothing stands out: a plain picture is not a product
        return None
    opaque = np.full(rgb.shape[:2], 255, np.uint8)
    return soften(np.dstack((rgb, opaque)), colour, difference, outside)


def border_colour(rgb: Pixels) -> NDArray[np.int16] | None:
    """The one colour [3] of a plain border, or None where the border is not plain."""
    edges = (rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1])
    border = np.concatenate(edges).astype(np.int16)
    colour = np.median(border, axis=0).astype(np.int16)
    is_like = np.abs(border - colour).max(axis=-1) <= TOLERANCE
    return colour if is_like.mean() >= PLAIN_SHARE else None


def flood_from_border(is_open: Mask) -> Mask:
    """The part of `is_open` [H, W] that touches the border through itself (4-connected)."""
    reached = np.zeros_like(is_open)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        reached[edge] = is_open[edge]
    count = -1
    # Whole runs at once, by rows and by columns in turn: a few rounds for any usual outline.
    while (now := int(reached.sum())) != count:
        count = now
        reached = fill_runs(is_open, reached)
        reached = fill_runs(is_open.T, reached.T).T
    return reached


def fill_runs(is_open: Mask, reached: Mask) -> Mask:
    """Every horizontal run of `is_open` that holds a reached pixel is reached."""
    starts = is_open.copy()
    starts[:, 1:] &= ~is_open[:, :-1]
    run = np.cumsum(starts.ravel()).reshape(is_open.shape)
    hit = np.zeros(int(run.max()) + 1, np.bool_)
    hit[run[reached]] = True
    return hit[run] & is_open


def grow(mask: Mask, steps: int) -> Mask:
    """The mask [H, W] and everything within `steps` pixels of it."""
    for _ in range(steps):
        wider = mask.copy()
        wider[1:] |= mask[:-1]
        wider[:-1] |= mask[1:]
        wider[:, 1:] |= mask[:, :-1]
        wider[:, :-1] |= mask[:, 1:]
        mask = wider
    return mask


def soften(
    rgba: Pixels, colour: NDArray[np.int16], difference: NDArray[np.int16], outside: Mask
) -> Pixels:
    """Clears the outside; gives pixels beside it the alpha and colour from before blending."""
    rim = grow(outside, RIM) & ~outside
    # How far a pixel has come from the border's colour to that of the product just beside it.
    nearby = Image.fromarray(difference.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * RIM + 1))
    whole = np.maximum(np.asarray(nearby, np.float32), OPAQUE_FROM)
    alpha = np.where(rim, np.clip(difference / whole, 0, 1), 1.0)
    alpha[outside] = 0
    cover = np.maximum(alpha, 1 / 255)[..., None]
    # The border's colour is taken out again, or it would stay as a halo on another background.
    rgb = (rgba[..., :3] - (1 - cover) * colour) / cover
    clean = np.where(rim[..., None], np.clip(np.rint(rgb), 0, 255), rgba[..., :3])
    shown = np.where(outside[..., None], 0, clean)
    return np.dstack((shown, np.rint(alpha * 255))).astype(np.uint8)
