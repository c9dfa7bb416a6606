"""Colours of what is written, so that it can be read.

Contrast is that of WCAG 2.2 (success criterion 1.4.3): (lighter + 0.05) / (darker + 0.05).
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffusion.composition import to_linear
from server.core import Pixels

READABLE = 4.5
MARGIN = 0.1  # rounding to codes takes a little of a contrast
OPACITIES = (0.7, 0.78, 0.86, 0.93, 1.0)
GREY, FULL = 0.1, 0.55  # saturation below which a picture has no colour, and that of an accent
INK, PAPER = "#14161b", "#ffffff"
DARK = 0.18  # luminance of middle grey
INK_TINGE, DARK_SHARE, LIGHT_SHARE = 0.2, 0.8, 0.35
LUMA = np.array([0.2126, 0.7152, 0.0722])

_COLOUR = re.compile(r"^#([0-9a-fA-F]{6})([0-9a-fA-F]{2})?$")


@dataclass(frozen=True, slots=True)
class Scheme:
    """Letters of one colour, on a plate or on the picture itself where `plate` is empty."""

    ink: str
    plate: str = ""


def read_colour(colour: str) -> tuple[int, int, int, int]:
    """ "#rrggbb" or "#rrggbbaa" → four codes. Raises ValueError."""
    if not (match := _COLOUR.match(colour)):
        raise ValueError(f"{colour!r} is no colour: want #rrggbb or #rrggbbaa")
    codes = bytes.fromhex(match[1] + (match[2] or "ff"))
    return codes[0], codes[1], codes[2], codes[3]


def write_colour(codes: Iterable[float], opacity: float = 1.0) -> str:
    end = "" if opacity >= 1 else f"{round(255 * opacity):02x}"
    return "#" + "".join(f"{round(min(max(code, 0), 255)):02x}" for code in codes) + end


def find_luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Relative luminance of [..., 3] in 0..1."""
    return np.asarray(to_linear(pixels) @ LUMA, np.float64)


def find_contrast(colour: str, other: str) -> float:
    return float(least_contrast(colour, np.array([read_colour(other)[:3]], np.uint8)))


def least_contrast(ink: str, pixels: NDArray[np.uint8], plate: str = "") -> float:
    """Between letters and the pixel behind them that is nearest to them in luminance."""
    behind = find_luminance(put_plate(pixels, plate) if plate else pixels)
    own = float(find_luminance(np.array([read_colour(ink)[:3]], np.uint8))[0])
    light, dark = np.maximum(behind, own), np.minimum(behind, own)
    return float(((light + 0.05) / (dark + 0.05)).min(initial=21.0))


def put_plate(pixels: NDArray[np.uint8], plate: str) -> NDArray[np.uint8]:
    *codes, opacity = read_colour(plate)
    mixed = pixels + (np.array(codes) - pixels) * (opacity / 255)
    return np.asarray(np.rint(mixed), np.uint8)


def choose_bare(pixels: NDArray[np.uint8], inks: Iterable[str]) -> Scheme | None:
    """The first ink that every pixel [n, 3] lets read; None where none does."""
    for ink in inks:
        if least_contrast(ink, pixels) >= READABLE + MARGIN:
            return Scheme(ink)
    return None


def choose_plated(pixels: NDArray[np.uint8], dark: str, light: str) -> Scheme:
    """Dark letters on a light plate, or the reverse in a dark picture, as clear as can be read."""
    lighter, darker = Scheme(dark, light), Scheme(light, dark)
    order = (lighter, darker) if find_luminance(pixels).mean() > DARK else (darker, lighter)
    for scheme in order:
        for opacity in OPACITIES:
            plate = write_colour(read_colour(scheme.plate)[:3], opacity)
            if least_contrast(scheme.ink, pixels, plate) >= READABLE + MARGIN:
                return Scheme(scheme.ink, plate)
    return Scheme(INK, PAPER)


def list_inks(pixels: NDArray[np.uint8], own: Iterable[str | None]) -> list[str]:
    """A kit's own inks, then a dark and a light one for these pixels [n, 3]."""
    dark, light = tinge(pixels, INK_TINGE)
    inks = [dark, light] if find_luminance(pixels).mean() > DARK else [light, dark]
    return [*(ink for ink in own if ink), *inks, INK, PAPER]


def tinge(pixels: NDArray[np.uint8], share: float) -> tuple[str, str]:
    """A dark and a light colour with some of the pixels' own."""
    own = pixels.reshape(-1, 3).mean(axis=0)
    dark, light = np.array(read_colour(INK)[:3]), np.array(read_colour(PAPER)[:3])
    return (
        write_colour(dark + share * (own - dark) * DARK_SHARE),
        write_colour(light + share * (own - light) * LIGHT_SHARE),
    )


def find_accent(pixels: Pixels) -> str:
    """The strongest colour of these pixels [n, 3], full and dark enough to write on in white."""
    colours, areas = np.unique(
        pixels[:: max(1, len(pixels) // 4096)] & 0xF0, axis=0, return_counts=True
    )
    chroma = colours.max(axis=1).astype(float) - colours.min(axis=1)
    strongest = colours[int(np.argmax(chroma * np.sqrt(areas)))] + 8.0
    hue, saturation, value = colorsys.rgb_to_hsv(*strongest / 255)
    if saturation > GREY:
        saturation = max(saturation, FULL)
    while True:
        accent = write_colour(255 * code for code in colorsys.hsv_to_rgb(hue, saturation, value))
        if find_contrast(PAPER, accent) >= READABLE + MARGIN:
            return accent
        value *= 0.96


def measure_distance(colour: str, other: str) -> float:
    """CIE 1976 difference of two colours: about 2.3 is just noticeable."""
    return float(np.linalg.norm(_to_lab(colour) - _to_lab(other)))


def _to_lab(colour: str) -> NDArray[np.float64]:
    """CIELAB under D65, as in CIE 15."""
    linear = to_linear(np.array(read_colour(colour)[:3], np.uint8))
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
