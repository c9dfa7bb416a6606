"""Things that stand, hang and float in the scenes, as SVG in frame units."""

import math
from random import Random

from diffusion.palettes import Palette, mix
from diffusion.shapes import disc, line, rect, shape, transform


def leaf(x: float, y: float, length: float, angle: float, fill: str) -> str:
    """A leaf that grows from (x, y) in the direction `angle` (degrees, 0 is up)."""
    w, a, b = length * 0.26, length * 0.35, length * 0.7
    d = f"M0 0C{-w:.2f} {-a:.2f} {-w:.2f} {-b:.2f} 0 {-length:.2f}"
    d += f"C{w:.2f} {-b:.2f} {w:.2f} {-a:.2f} 0 0Z"
    return shape(d, fill, transform(f"translate({x:.2f} {y:.2f}) rotate({angle:.1f})"))


def sprig(x: float, y: float, height: float, lean: float, fill: str, more: str = "") -> str:
    """A stem with pairs of leaves, leaning by `lean` units at its tip."""
    bow = f"M{x:.2f} {y:.2f}q{lean * 0.2:.2f} {-height * 0.5:.2f} {lean:.2f} {-height:.2f}"
    drawn = line(bow, fill, 0.8)
    tilt = math.degrees(math.atan2(lean, height))
    for step in (0.35, 0.55, 0.75):
        at = (x + lean * step * step, y - height * step)
        size = height * 0.36 * (1.15 - step * 0.5)
        drawn += "".join(leaf(*at, size, tilt + side, fill) for side in (-52, 52))
    drawn += leaf(x + lean, y - height * 0.95, height * 0.3, tilt, fill)
    return f"<g {more}>{drawn}</g>"


def vase(rng: Random, x: float, foot: float, side: int, p: Palette) -> str:
    """Three sprigs in a vase that stands at (x, foot)."""
    green = mix(p.deep, p.accent, 0.25)
    stems = "".join(
        sprig(x, foot - 15, rng.uniform(22, 30), lean * side, green) for lean in (-6, 3, 9)
    )
    rim = foot - 17
    body = shape(f"M{x - 3} {rim}h6c0 4 4 5 4 10c0 5-3 7-7 7s-7-2-7-7c0-5 4-6 4-10Z", p.light)
    dim = f"M{x + 1} {rim}h2c0 4 4 5 4 10c0 5-3 7-7 7c4-3 4-12 1-17Z"
    shade = disc(x, foot, 10, p.night, 'fill-opacity=".22"', ry=1.6)
    return shade + stems + body + shape(dim, p.main, 'fill-opacity=".45"')


def pot(rng: Random, x: float, y: float, p: Palette) -> str:
    """A plant in a pot at `x` on a board at `y`."""
    green = mix(p.deep, p.accent, 0.25)
    leaves = "".join(
        leaf(x, y - 7, rng.uniform(9, 13), angle + rng.uniform(-8, 8), green)
        for angle in (-62, -30, 0, 30, 62)
    )
    clay = shape(f"M{x - 4.5:.2f} {y - 8:.2f}h9l-1.2 8h-6.6Z", p.light)
    return leaves + clay + rect(x - 5, y - 8.6, 10, 2.2, p.light, 'rx=".6"')


def books(rng: Random, x: float, y: float, p: Palette) -> str:
    """Four upright books around `x` on a board at `y`."""
    drawn, at = "", x - 7.5
    for colour in (p.deep, p.main, p.light, p.accent):
        width, height = rng.uniform(2.6, 4), rng.uniform(11, 15.5)
        drawn += rect(at, y - height, width, height, colour, 'rx=".4"')
        drawn += rect(at, y - height * 0.8, width, 1, p.light, 'fill-opacity=".45"')
        at += width + 0.3
    return drawn


def tree(x: float, y: float, height: float, p: Palette) -> str:
    """A round tree whose foot is at (x, y)."""
    w = height * 0.3
    trunk = rect(x - 0.6, y - height * 0.4, 1.2, height * 0.45, p.night)
    crown = disc(x, y - height * 0.62, w, mix(p.deep, p.main, 0.15), ry=height * 0.42)
    lit = mix(p.deep, p.main, 0.5)
    return trunk + crown + disc(x - w * 0.25, y - height * 0.68, w * 0.62, lit, ry=height * 0.28)


def hill(rng: Random, top: float, swing: float, fill: str) -> str:
    """A rolling line across the frame at about y = `top`, filled down to the bottom."""
    a, b, c = (top + rng.uniform(-swing, swing) for _ in range(3))
    x = rng.uniform(35, 65)
    d = f"M-2 {a:.1f}C{x - 25:.1f} {a - swing:.1f} {x - 18:.1f} {b:.1f} {x:.1f} {b:.1f}"
    d += f"S{x + 28:.1f} {c + swing:.1f} 102 {c:.1f}V102H-2Z"
    return shape(d, fill)


def cloud(x: float, y: float, p: Palette) -> str:
    puffs = ((-8, 1, 4.5), (-2, -2, 6.5), (5, 0, 5), (10, 2, 3))
    drawn = "".join(disc(x + dx, y + dy, r, p.light) for dx, dy, r in puffs)
    return drawn + rect(x - 11, y + 1, 23, 4.4, p.light, 'rx="2.2"')


def crescent(x: float, y: float, r: float, side: int, fill: str) -> str:
    """A moon whose lit edge points to `side` (-1 left, 1 right)."""
    d = f"M0 {-r:.2f}A{r:.2f} {r:.2f} 0 1 1 0 {r:.2f}"
    d += f"A{r * 0.62:.2f} {r * 1.02:.2f} 0 0 0 0 {-r:.2f}Z"
    place = f"translate({x:.2f} {y:.2f}) scale({side} 1) rotate(-24) translate({-r * 0.4:.2f} 0)"
    return shape(d, fill, transform(place))


def sparkle(x: float, y: float, r: float, fill: str) -> str:
    """A four-pointed star."""
    q = r * 0.16
    d = f"M0 {-r:.2f}Q{q:.2f} {-q:.2f} {r:.2f} 0Q{q:.2f} {q:.2f} 0 {r:.2f}"
    d += f"Q{-q:.2f} {q:.2f} {-r:.2f} 0Q{-q:.2f} {-q:.2f} 0 {-r:.2f}Z"
    return shape(d, fill, transform(f"translate({x:.2f} {y:.2f})"))


def stars(rng: Random, moon_x: float, moon_y: float, p: Palette) -> str:
    """Small stars and a few bright ones, none before the moon."""
    drawn = ""
    for _ in range(36):
        x, y, r = rng.uniform(2, 98), rng.uniform(2, 46), rng.choice((0.45, 0.6, 0.85))
        if math.hypot(x - moon_x, y - moon_y) > 12:
            drawn += disc(x, y, r, p.light)
    for _ in range(6):
        x, y, r = rng.uniform(4, 96), rng.uniform(6, 34), rng.uniform(2, 3.4)
        if math.hypot(x - moon_x, y - moon_y) > 14:
            drawn += sparkle(x, y, r, p.light)
    return drawn


def bokeh(rng: Random, p: Palette) -> str:
    """Lights far out of focus."""
    drawn = ""
    for _ in range(16):
        x, y, r = rng.uniform(0, 100), rng.uniform(14, 70), rng.uniform(3, 8)
        colour = rng.choice((p.light, p.soft, p.accent))
        drawn += disc(x, y, r, colour, f'fill-opacity="{rng.uniform(0.16, 0.38):.2f}"')
    return drawn


def confetti(rng: Random, p: Palette) -> str:
    """Paper in the air, except before the product, and on the floor."""
    colours = (p.light, p.accent, p.deep)
    drawn = ""
    for _ in range(14):
        x, y = rng.uniform(0, 100), rng.uniform(78, 98)
        drawn += disc(x, y, 1.2, rng.choice(colours), ry=0.6)
    for _ in range(46):
        x, y, angle = rng.uniform(0, 100), rng.uniform(8, 74), rng.uniform(0, 180)
        if abs(x - 50) > 26 or y < 34:
            turn = transform(f"rotate({angle:.0f} {x:.1f} {y:.1f})")
            drawn += rect(x, y, 2.6, 1.5, rng.choice(colours), turn)
    return drawn


def garland(rng: Random, p: Palette) -> str:
    """Pennants on a string that sags across the top."""
    sag, lift = rng.uniform(17, 25), rng.uniform(1, 5)
    drawn = line(f"M-1 {lift:.1f}Q50 {lift + sag:.1f} 101 {lift:.1f}", p.deep, 0.7)
    for n in range(9):
        t = (n + 0.5) / 9
        y = lift + 2 * sag * t * (1 - t)
        drawn += shape(f"M{t * 100 - 4:.1f} {y:.1f}h8l-4 9.5Z", (p.light, p.deep, p.accent)[n % 3])
    return drawn
