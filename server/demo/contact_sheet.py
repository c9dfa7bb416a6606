"""Draws the contact sheet: a strip for each question, a tile for each answer."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

PAPER = (250, 249, 246)
INK = (28, 28, 30)
GREY = (122, 120, 116)
HAIRLINE = (224, 221, 214)
ACCENT = (196, 84, 52)
MUTED = (178, 175, 168)

MARGIN = 72
TILE = 296
GAP = 28
RADIUS = 14
SIDEBAR = 400
CAPTION = 84
STRIP_GAP = 60
HEADER = 190
FOOTER = 96


@dataclass(frozen=True, slots=True)
class Tile:
    """One encoded image with its caption; `lit` marks one that was made for its shopper."""

    data: bytes
    title: str
    note: str
    lit: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """One question and its answers; `packshot` is the encoded picture that all began with."""

    title: str
    text: str
    tiles: tuple[Tile, ...]
    packshot: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    title: str
    subtitle: str
    strips: tuple[Strip, ...]
    footer: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        num_tiles = max(len(strip.tiles) for strip in self.strips)
        width = 2 * MARGIN + SIDEBAR + num_tiles * (TILE + GAP) - GAP
        return width, HEADER + len(self.strips) * (TILE + CAPTION + STRIP_GAP) + FOOTER


def draw_contact_sheet(sheet: Sheet) -> Image.Image:
    paper = Image.new("RGB", sheet.size, PAPER)
    draw = ImageDraw.Draw(paper)
    _write(draw, MARGIN, 58, sheet.title, INK, 58)
    _write(draw, MARGIN + 2, 130, sheet.subtitle, GREY, 24)
    for number, strip in enumerate(sheet.strips):
        _draw_strip(paper, draw, strip, HEADER + number * (TILE + CAPTION + STRIP_GAP))
    _write(draw, MARGIN, sheet.size[1] - FOOTER + 24, sheet.footer, GREY, 19)
    return paper


def _draw_strip(paper: Image.Image, draw: ImageDraw.ImageDraw, strip: Strip, top: int) -> None:
    draw.line((MARGIN, top, paper.width - MARGIN, top), HAIRLINE, 2)
    top += STRIP_GAP // 2
    _draw_sidebar(paper, draw, strip, top)
    for number, tile in enumerate(strip.tiles):
        _draw_tile(paper, draw, tile, MARGIN + SIDEBAR + number * (TILE + GAP), top)


def _draw_sidebar(paper: Image.Image, draw: ImageDraw.ImageDraw, strip: Strip, top: int) -> None:
    _write(draw, MARGIN, top - 4, strip.title, INK, 31)
    for number, line in enumerate(wrap(strip.text, _font(20), SIDEBAR - 48)):
        _write(draw, MARGIN, top + 48 + 28 * number, line, GREY, 20)
    if strip.packshot is not None:
        side = 116
        _paste(paper, strip.packshot, MARGIN, top + TILE - side, side)
        _write(draw, MARGIN + side + 16, top + TILE - 30, "the packshot", GREY, 18)


def _draw_tile(
    paper: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int
) -> None:
    _paste(paper, tile.data, left, top, TILE)
    _write(draw, left + 2, top + TILE + 14, tile.title, INK, 23, TILE)
    y = top + TILE + 48
    draw.ellipse((left + 2, y + 5, left + 12, y + 15), ACCENT if tile.lit else MUTED)
    _write(draw, left + 22, y, tile.note, GREY, 18, TILE - 24)


def _paste(paper: Image.Image, data: bytes, left: int, top: int, side: int) -> None:
    with Image.open(io.BytesIO(data)) as opened:
        picture = _square(opened.convert("RGBA"), side)
    paper.paste(picture, (left, top), _corners(side))


def _square(picture: Image.Image, side: int) -> Image.Image:
    """The whole picture on white, centred in a square of `side` pixels."""
    scale = side / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    scaled = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    square.alpha_composite(scaled, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square.convert("RGB")


@cache
def _corners(side: int) -> Image.Image:
    mask = Image.new("L", (4 * side, 4 * side), 0)
    bounds = (0, 0, 4 * side - 1, 4 * side - 1)
    ImageDraw.Draw(mask).rounded_rectangle(bounds, 4 * RADIUS, 255)
    return mask.resize((side, side), Image.Resampling.LANCZOS)


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw,
    left: int,
    top: int,
    text: str,
    ink: tuple[int, int, int],
    size: int,
    width: int = 10_000,
) -> None:
    draw.text((left, top), fit(to_font(text), _font(size), width), ink, _font(size))


def to_font(text: str) -> str:
    """The text in the letters that Pillow's own font has: accents go, other scripts become '?'."""
    bare = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return "".join(c if c.isascii() or c in "·…‘’“”" else "?" for c in bare)


def wrap(text: str, font: Any, width: int) -> Sequence[str]:
    """Lines of whole words, each at most `width` pixels where a word is not longer than that."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def fit(text: str, font: Any, width: int) -> str:
    """The text, shortened to at most `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1].rstrip()
    return f"{text}…"
