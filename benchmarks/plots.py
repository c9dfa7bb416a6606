"""Lines over a number line, as PNG. Pillow draws, with its own font: no machine lacks it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 76, 56
FINE = 3
"""Drawn so many times larger and reduced, for smooth lines."""
INK, FAINT = "#222222", "#dddddd"
COLOURS = ("#c45434", "#2f6f73", "#7a5ea8", "#b0852b", "#4f7d3a", "#8c4a6b", "#5c6b7a")
NUM_GRID = 5


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low`, with `ticks` to name, to `high`."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


Lines = Mapping[str, Sequence[Point]]
"""By name, each from left to right; points that are not finite are left out."""


def draw_lines(path: Path, title: str, lines: Lines, x_label: str, y_label: str) -> None:
    """Writes a PNG of WIDTH x HEIGHT; the first line is the thickest. ValueError without points."""
    points = [point for line in lines.values() for point in line if math.isfinite(point.y)]
    if not points:
        raise ValueError(f"{title}: nothing to draw")
    xs = sorted({point.x for point in points})
    across = Axis(x_label, min(0.0, xs[0]), 1.05 * xs[-1], xs)
    up = _fit(y_label, max(point.y for point in points))
    sheet = Sheet(across, up)
    sheet.draw_frame(title)
    for number, (name, line) in enumerate(lines.items()):
        sheet.draw_line(number, name, [p for p in line if math.isfinite(p.y)])
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.finish().save(path, optimize=True)


def _fit(label: str, highest: float) -> Axis:
    """Zero to a round number that is not below `highest`."""
    rough = max(highest, 1e-9) / (NUM_GRID - 1)
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
    count = math.ceil(highest / step - 1e-9)
    return Axis(label, 0.0, count * step, [step * number for number in range(count + 1)])


class Sheet:
    """A drawing in the making, in units of finished pixels."""

    def __init__(self, across: Axis, up: Axis) -> None:
        self._across, self._up = across, up
        self._image = Image.new("RGB", (FINE * WIDTH, FINE * HEIGHT), "white")
        self._pen = ImageDraw.Draw(self._image)

    def draw_frame(self, title: str) -> None:
        self._write(LEFT, 16, title, 17, "la")
        for value in self._up.ticks:
            y = self._y(value)
            self._stroke([(LEFT, y), (WIDTH - RIGHT, y)], FAINT, 1)
            self._write(LEFT - 8, y, f"{value:g}", 13, "rm")
        for value in self._across.ticks:
            x = self._x(value)
            self._stroke([(x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 5)], INK, 1)
            self._write(x, HEIGHT - BOTTOM + 9, f"{value:g}", 13, "ma")
        self._write((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 22, self._across.label, 13, "ma")
        self._write(LEFT, TOP - 8, self._up.label, 13, "ld")

    def draw_line(self, number: int, name: str, points: Sequence[Point]) -> None:
        colour, width = COLOURS[number % len(COLOURS)], 3.5 if number == 0 else 2
        places = [(self._x(point.x), self._y(point.y)) for point in points]
        if places:
            self._stroke(places, colour, width)
        for x, y in places:
            self._dot(x, y, colour, width + 1.5)
        y = TOP + 12 + 22 * number
        self._stroke([(WIDTH - RIGHT + 16, y), (WIDTH - RIGHT + 36, y)], colour, width)
        self._write(WIDTH - RIGHT + 44, y, name, 13, "lm")

    def finish(self) -> Image.Image:
        return self._image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)

    def _x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * self._across.place(value)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * self._up.place(value)

    def _stroke(self, places: Sequence[tuple[float, float]], colour: str, width: float) -> None:
        fine = [(FINE * x, FINE * y) for x, y in places]
        self._pen.line(fine, fill=colour, width=round(FINE * width), joint="curve")

    def _dot(self, x: float, y: float, colour: str, radius: float) -> None:
        box = [FINE * (x - radius), FINE * (y - radius), FINE * (x + radius), FINE * (y + radius)]
        self._pen.ellipse(box, fill=colour)

    def _write(self, x: float, y: float, text: str, size: int, anchor: str) -> None:
        font = ImageFont.load_default(FINE * size)
        self._pen.text((FINE * x, FINE * y), text, fill=INK, font=font, anchor=anchor)
