"""The drawing vocabulary of the scenes: pieces of SVG in a frame of 100 x 100 units."""

from collections.abc import Sequence

Stops = Sequence[tuple[float, str, float]]  # offset, colour, opacity


DOWNWARDS = 'x1="0" x2="0" y1="0" y2="1"'


def fade(name: str, stops: Stops, place: str = DOWNWARDS, kind: str = "linear") -> str:
    """A gradient, from top to bottom unless `place` says otherwise."""
    marks = "".join(
        f'<stop offset="{at}" stop-color="{colour}" stop-opacity="{opacity}"/>'
        for at, colour, opacity in stops
    )
    return f'<{kind}Gradient id="{name}" {place}>{marks}</{kind}Gradient>'


def pool(name: str, x: float, y: float, r: float, stops: Stops) -> str:
    """A radial gradient in frame units."""
    place = f'gradientUnits="userSpaceOnUse" cx="{x:.2f}" cy="{y:.2f}" r="{r:.2f}"'
    return fade(name, stops, place, "radial")


def rect(x: float, y: float, w: float, h: float, fill: str, more: str = "") -> str:
    return f'<rect x="{x:.2f}" y="{y:.2f}" width="{w:.2f}" height="{h:.2f}" fill="{fill}" {more}/>'


def frame(fill: str) -> str:
    return rect(0, 0, 100, 100, fill)


def disc(x: float, y: float, r: float, fill: str, more: str = "", ry: float | None = None) -> str:
    """A circle, or an ellipse where `ry` differs."""
    ry = r if ry is None else ry
    return f'<ellipse cx="{x:.2f}" cy="{y:.2f}" rx="{r:.2f}" ry="{ry:.2f}" fill="{fill}" {more}/>'


def shape(d: str, fill: str, more: str = "") -> str:
    return f'<path d="{d}" fill="{fill}" {more}/>'


def line(d: str, colour: str, width: float, more: str = "") -> str:
    return f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="{width}" {more}/>'


def transform(steps: str) -> str:
    return f'transform="{steps}" '
