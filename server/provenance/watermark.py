"""A mark that a shopper does not see and that outlives JPEG, cropping and scaling.

A tile of noise, drawn by a secret key: all frequencies of a band are of one size, their phases are
the secret. It is repeated over the picture, scaled so that the longer side is `SIDE` pixels, and
added to the luma, more where there is texture, and only darker where there is no room above.

To find it a picture is scaled to that size, all its tiles are laid on one another, and the phases
of the sum are compared with the key's, for all places of the tile at once and for all scales that a
crop of up to `1 - LEAST` of the longer side can have left. For an image without the mark the score,
in standard deviations, is above t at one place with a probability of exp(-t²/2) at most, whatever
the image (Hoeffding's inequality: a sum of bounded terms with independent phases), so that the
threshold follows from `FALSE_ALARMS` and the number of places alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from server.core import Pixels

SIDE, TILE = 512, 128
BAND = 8, 24
"""Cycles in a tile: low enough for JPEG and for half the size, too high for most of a scene."""

LEAST, NUM_SCALES = 0.7, 51
FALSE_ALARMS = 1e-6
SMALLEST = 128
"""Pixels of the longer side of a picture that is marked."""

FAINT, TEXTURED, STRONGEST = 0.75, 0.16, 3.2
"""Standard deviation of the mark in codes: where all is flat, by that of the picture around, and at
most."""

ONE_SIDED = 1.15
"""By how much stronger it is where half of it is missing, as on white."""

BLOCK = 6
"""Pixels, where the longer side has `SIDE`, of what is looked at as one texture."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""As JPEG has it."""

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Score:
    """How clearly a mark is seen, in standard deviations, and from where on it is there."""

    value: float
    threshold: float

    @property
    def is_marked(self) -> bool:
        return self.value >= self.threshold


class Watermark:
    """Marks with the first of the keys and looks for all of them; callable from several threads."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._phases = [draw_phases(key) for key in keys]
        self._tile = draw_tile(self._phases[0])

    def mark(self, pixels: Pixels, spared: Mask | None = None) -> Pixels:
        """A picture [H, W, 3] with the mark, but where it is `spared` [H, W]; too small ones stay
        as they are."""
        height, width = pixels.shape[:2]
        if max(height, width) < SMALLEST:
            return pixels
        wave = spread(self._tile, width, height)
        luma = pixels @ LUMA
        wave *= find_strength(luma, max(height, width) / SIDE)
        wave = keep_in_range(wave, pixels)
        if spared is not None:
            wave[spared] = 0
        return np.asarray(np.clip(np.rint(pixels + wave[..., None]), 0, 255), np.uint8)

    def find(self, pixels: Pixels) -> Score:
        """How clearly the mark is in a picture [H, W, 3]."""
        plain = flatten(scale_to(pixels @ LUMA, SIDE))
        scales = np.linspace(1.0, LEAST, NUM_SCALES)
        num_places = TILE**2 * len(scales) * len(self._phases)
        threshold = math.sqrt(2 * math.log(num_places / FALSE_ALARMS))
        best = 0.0
        for scale in scales:
            spectrum = fft.rfft2(fold(scale_to(plain, round(scale * SIDE))))
            best = max(best, *(compare(spectrum, phases) for phases in self._phases))
            if best > 1.5 * threshold:
                break
        return Score(best, threshold)


def draw_phases(key: bytes) -> NDArray[np.complex64]:
    """[T, T/2 + 1] of size 1 in the band and 0 outside, the same for the same key."""
    seed = int.from_bytes(hashlib.sha256(b"etalage watermark" + key).digest())
    drawn = np.random.Generator(np.random.PCG64(seed)).random((TILE, TILE // 2 + 1))
    return np.asarray(in_band() * np.exp(2j * np.pi * drawn), np.complex64)


@lru_cache(maxsize=1)
def in_band() -> Mask:
    """Columns 0 and T/2 stand for themselves and their mirror images, and are left out."""
    y, x = fft.fftfreq(TILE, 1 / TILE)[:, None], np.arange(TILE // 2 + 1)
    radius = np.hypot(y, x)
    inside = (radius >= BAND[0]) & (radius <= BAND[1])
    return np.asarray(inside & (x > 0) & (x < TILE // 2))


def draw_tile(phases: NDArray[np.complex64]) -> Plane:
    """[T, T] of mean 0 and standard deviation 1."""
    tile = fft.irfft2(phases, (TILE, TILE))
    return np.asarray(tile / tile.std(), np.float32)


def spread(tile: Plane, width: int, height: int) -> Plane:
    """The tile over a picture [height, width]."""
    scale = SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    repeats = -(-size[1] // TILE), -(-size[0] // TILE)
    whole = np.tile(tile, repeats)[: size[1], : size[0]]
    if size == (width, height):
        return whole.copy()
    resized = Image.fromarray(whole).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(resized, np.float32)


def find_strength(luma: Plane, scale: float) -> Plane:
    """How strong the mark may be at each pixel, by what there is around to hide it."""
    height, width = luma.shape
    image, squares = Image.fromarray(luma), Image.fromarray(luma**2)
    size = max(2, round(BLOCK * scale))
    mean, square = (np.asarray(each.reduce(size)) for each in (image, squares))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    # What hides it must be on all sides: next to an edge lies what is flat.
    hidden = ndimage.minimum_filter(deviation, 3)
    strength = Image.fromarray(np.clip(FAINT + TEXTURED * hidden, FAINT, STRONGEST))
    return np.array(strength.resize((width, height), Image.Resampling.BILINEAR))


def keep_in_range(wave: Plane, pixels: Pixels) -> Plane:
    """Where there is no room in one direction the other one carries the mark alone."""
    reach = 2 * np.abs(wave) + 1
    above = np.clip((255 - pixels.max(axis=2)) / reach, 0, 1)
    below = np.clip(pixels.min(axis=2) / reach, 0, 1)
    up = wave * above * (1 + ONE_SIDED * (1 - below))
    down = wave * below * (1 + ONE_SIDED * (1 - above))
    return np.asarray(np.where(wave > 0, up, down), np.float32)


def scale_to(plane: Plane, side: int) -> Plane:
    """The longer side of a plane [h, w] made `side` pixels long."""
    height, width = plane.shape
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return plane
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def flatten(luma: Plane) -> Plane:
    """What is fine in a picture, as strong everywhere: the mark is not to drown in an edge."""
    fine = ndimage.gaussian_filter(luma, 0.8) - ndimage.gaussian_filter(luma, 4.0)
    power = ndimage.gaussian_filter(fine**2, 8.0)
    return np.asarray(np.clip(fine / (np.sqrt(power) + 0.3), -2.5, 2.5), np.float32)


def fold(plane: Plane) -> Plane:
    """All tiles of a plane laid on one another: [T, T]."""
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % TILE), (0, -width % TILE)))
    parts = padded.reshape(-1, TILE, padded.shape[1] // TILE, TILE)
    return np.asarray(parts.sum(axis=(0, 2)), np.float32)


def compare(spectrum: NDArray[np.complex64], phases: NDArray[np.complex64]) -> float:
    """The highest score of all places of the tile."""
    sizes = np.abs(spectrum)
    # Sizes that differ less count as much: a scene has few strong frequencies, the mark has all.
    crossed = spectrum / np.sqrt(sizes + 1e-9) * phases.conj()
    found = fft.irfft2(crossed, (TILE, TILE))
    deviation = float(np.sqrt(np.mean(found**2)))
    return float(found.max()) / deviation if deviation > 1e-9 else 0.0
