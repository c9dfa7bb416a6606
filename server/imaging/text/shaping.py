"""A line becomes glyphs: order by direction, font by letter, form by HarfBuzz.

All lengths are in em, y runs upwards from the baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import uharfbuzz as hb

from server.imaging.text.bidi import order_runs
from server.imaging.text.breaking import find_clusters
from server.imaging.text.fonts import Font, Fonts, is_ignorable
from server.imaging.text.lettering import MissingGlyphs, runs_from_right

COMMON = frozenset({None, "Zyyy", "Zinh", "Zzzz"})


@dataclass(frozen=True, slots=True)
class Glyph:
    """One form of a font at its place on the line."""

    font: Font
    id: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """`width` is the advance; ink runs from `left` to `right` and from `bottom` to `top`."""

    text: str
    glyphs: tuple[Glyph, ...]
    width: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Piece:
    """Letters of one font, script and direction."""

    text: str
    font: Font
    script: str | None
    is_right_to_left: bool


@lru_cache(maxsize=4096)
def shape_line(text: str, language: str, font: str, fonts: Fonts) -> Line:
    """Raises MissingGlyphs."""
    glyphs: list[Glyph] = []
    x = 0.0
    for run in order_runs(text, runs_from_right(text, language)):
        pieces = list(itemize(text[run.start : run.stop], language, font, fonts))
        for piece in reversed(pieces) if run.is_right_to_left else pieces:
            own = Piece(piece.text, piece.font, piece.script, run.is_right_to_left)
            shaped, advance = shape(own, language)
            glyphs += [Glyph(g.font, g.id, g.x + x, g.y) for g in shaped]
            x += advance
    boxes = [box for glyph in glyphs if (box := _find_ink(glyph))]
    left, bottom, right, top = zip(*boxes, strict=True) if boxes else ((0.0,),) * 4
    return Line(text, tuple(glyphs), x, min(left), max(right), max(top), min(bottom))


def itemize(text: str, language: str, name: str, fonts: Fonts) -> Iterator[Piece]:
    """Pieces of one font and script, in the order of reading. What no script owns, such as blanks
    and figures, goes with the letters before it where their font has it."""
    piece, script, font = "", None, None
    for cluster in find_clusters(text, language):
        own = find_script(cluster)
        is_common = own in COMMON
        if font and is_common and font.covers(cluster):
            piece += cluster
            continue
        chosen = fonts.choose(cluster, language, name)
        if chosen is None:
            raise MissingGlyphs("".join(c for c in cluster if not is_ignorable(c)))
        if font and (chosen is not font or (not is_common and script not in (own, None))):
            yield Piece(piece, font, script, False)
            piece, script = "", None
        piece, font = piece + cluster, chosen
        script = script if is_common else own
    if font:
        yield Piece(piece, font, script, False)


@lru_cache(maxsize=8192)
def find_script(cluster: str) -> str | None:
    """ISO 15924; None for what many scripts share."""
    buffer = hb.Buffer()
    buffer.add_str(cluster)
    buffer.guess_segment_properties()
    return None if buffer.script in COMMON else str(buffer.script)


def shape(piece: Piece, language: str) -> tuple[list[Glyph], float]:
    """Glyphs from left to right, and their advance. Raises MissingGlyphs."""
    buffer = hb.Buffer()
    buffer.add_str(piece.text)
    buffer.guess_segment_properties()
    if piece.script:
        buffer.script = piece.script
    buffer.direction = "rtl" if piece.is_right_to_left else "ltr"
    buffer.language = language or "en"
    hb.shape(piece.font.hb, buffer)
    em = piece.font.units_per_em
    glyphs: list[Glyph] = []
    x = 0.0
    for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        if info.codepoint == 0:  # .notdef
            raise MissingGlyphs(piece.text[info.cluster])
        place = (x + position.x_offset) / em, position.y_offset / em
        glyphs.append(Glyph(piece.font, info.codepoint, *place))
        x += position.x_advance
    return glyphs, x / em


def _find_ink(glyph: Glyph) -> tuple[float, float, float, float] | None:
    """Left, bottom, right, top; None for a blank."""
    extents = glyph.font.hb.get_glyph_extents(glyph.id)
    if extents is None or not extents.width:
        return None
    em = glyph.font.units_per_em
    left, top = glyph.x + extents.x_bearing / em, glyph.y + extents.y_bearing / em
    return left, top + extents.height / em, left + extents.width / em, top


@lru_cache(maxsize=4096)
def draw_outline(font: Font, glyph: int) -> str:
    """An SVG path in the font's units, y upwards."""
    pen = _SvgPen()
    font.hb.draw_glyph_with_pen(glyph, pen)
    return "".join(pen.commands)


class _SvgPen:
    """What HarfBuzz calls with the parts of an outline, by the names of fontTools' pens."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def moveTo(self, point: tuple[float, float]) -> None:
        self._add("M", point)

    def lineTo(self, point: tuple[float, float]) -> None:
        self._add("L", point)

    def qCurveTo(self, *points: tuple[float, float]) -> None:
        self._add("Q", *points)

    def curveTo(self, *points: tuple[float, float]) -> None:
        self._add("C", *points)

    def closePath(self) -> None:
        self.commands.append("Z")

    def endPath(self) -> None:
        pass

    def _add(self, command: str, *points: tuple[float, float]) -> None:
        self.commands.append(command + " ".join(f"{x:g} {y:g}" for x, y in points))
