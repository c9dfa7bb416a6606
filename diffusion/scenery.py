"""The settings: each draws its surroundings as SVG in a frame of 100 x 100 units.

The product stands on the ground line at y = 80, about 56 units tall, so props keep to the sides
and to the upper third. Only colours come from the palette, only shapes from the generator: the
same seed in another palette is the same place in another light.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from diffusion.palettes import Palette, mix
from diffusion.props import (
    bokeh,
    books,
    cloud,
    confetti,
    crescent,
    garland,
    hill,
    pot,
    sprig,
    stars,
    tree,
    vase,
)
from diffusion.shapes import disc, fade, frame, line, pool, rect, shape, transform

Painter = Callable[[Palette, Random], str]
Season = Literal["spring", "summer", "autumn", "winter"]
SEASONS: tuple[Season, ...] = get_args(Season)


def paint_studio(p: Palette, rng: Random) -> str:
    """A paper sweep in window light."""
    side = rng.choice((-1, 1))
    x, bend = 50 + side * rng.uniform(12, 24), rng.uniform(62, 70)
    lit, dim = mix(p.soft, p.light, 0.55), mix(p.soft, p.main, 0.75)
    defs = pool("wall", x, 26, 95, [(0, lit, 1), (1, dim, 1)])
    bow = [(0, p.main, 0.0), (0.35, p.main, 0.5), (0.6, p.soft, 0.5), (1, p.main, 0.55)]
    defs += fade("sweep", bow)
    defs += fade("spot", [(0, p.light, 0.8), (0.5, p.light, 0.4), (1, p.light, 0)], "", "radial")
    panes = "".join(f"M{left} {top}h13v23h-13Z" for left in (-14, 1.2) for top in (-25, 0))
    slant = f"translate({50 + side * 24:.1f} {rng.uniform(27, 33):.1f}) skewY({side * -18})"
    window = shape(panes, p.light, transform(slant) + 'fill-opacity=".42"')
    floor = rect(0, bend - 18, 100, 60, "url(#sweep)")
    spot = disc(50, 82, 62, "url(#spot)", ry=17)
    return f"<defs>{defs}</defs>{frame('url(#wall)')}{window}{floor}{spot}"


def paint_glow(p: Palette, rng: Random) -> str:
    """Concentric light behind a round stand."""
    x, y = 50 + rng.uniform(-5, 5), rng.uniform(40, 47)
    step, r = rng.uniform(9.5, 12), rng.uniform(36, 40)
    defs = pool("room", x, y, 82, [(0, p.main, 1), (1, mix(p.main, p.deep, 0.8), 1)])
    pale = mix(p.soft, p.light, 0.6)
    defs += pool("halo", x, y, 22, [(0, p.light, 1), (0.7, pale, 1), (1, p.soft, 1)])
    sheen = [(0, p.deep, 1.0), (0.3, p.main, 1.0), (0.62, mix(p.main, p.soft, 0.5), 1.0)]
    defs += fade("stand", [*sheen, (1, p.deep, 1)], 'x1="0" x2="1"')
    rings = "".join(
        disc(x, y, 20 + step * ring, p.soft, f'fill-opacity="{0.34 - 0.07 * ring:.2f}"')
        for ring in (3, 2, 1)
    )
    stand = shape(f"M{50 - r:.1f} 82v22h{2 * r:.1f}v-22Z", "url(#stand)")
    top = disc(50, 82, r, mix(p.soft, p.light, 0.35), ry=6.5)
    halo = disc(x, y, 21, "url(#halo)")
    return f"<defs>{defs}</defs>{frame('url(#room)')}{rings}{halo}{stand}{top}"


def paint_table(p: Palette, rng: Random) -> str:
    """A wooden table before a wall, a vase at one side, a branch's shadow from the other."""
    side = rng.choice((-1, 1))
    edge = rng.uniform(64, 68)
    wood = mix(p.main, p.deep, 0.6)
    defs = fade("wall", [(0, p.soft, 1), (1, mix(p.soft, p.light, 0.7), 1)])
    defs += fade("wood", [(0, mix(wood, p.soft, 0.3), 1), (1, wood, 1)])
    y, angle = rng.uniform(-2, 8), side * rng.uniform(96, 114)
    turn = transform(f"translate({50 - side * 52} {y:.1f}) rotate({angle:.1f})")
    cast = sprig(0, 0, 46, side * 8, p.main, turn + 'opacity=".32"')
    grain = mix(wood, p.night, 0.35)
    gaps = "".join(
        line(f"M{50 + 17 * n} {edge:.1f}L{50 + 34 * n} 100", grain, 0.7, 'stroke-opacity=".5"')
        for n in (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
    )
    top = rect(0, edge, 100, 40, "url(#wood)") + gaps
    top += rect(0, edge, 100, 1.1, mix(p.soft, p.light, 0.3), 'fill-opacity=".8"')
    flowers = vase(rng, 50 + side * rng.uniform(36, 40), edge + 5, side, p)
    return f"<defs>{defs}</defs>{frame('url(#wall)')}{cast}{top}{flowers}"


def paint_pattern(p: Palette, rng: Random) -> str:
    """A printed wall over a plain floor."""
    size, ground = rng.uniform(15, 18), mix(p.main, p.soft, 0.25)
    motif, turn = rng.choice((dots, stripes, fans))(size, p.light, ground, rng)
    shift = f"rotate({turn}) translate({rng.uniform(0, size):.2f} 0)"
    defs = (
        f'<pattern id="print" width="{size:.2f}" height="{size:.2f}" patternUnits="userSpaceOnUse" '
        f'patternTransform="{shift}">{rect(0, 0, size, size, ground)}{motif}</pattern>'
    )
    shade, lit = mix(p.main, p.deep, 0.45), mix(p.main, p.deep, 0.12)
    defs += fade("floor", [(0, shade, 1), (0.25, lit, 1), (1, p.main, 1)])
    y = rng.uniform(72, 75)
    floor = rect(0, y, 100, 30, "url(#floor)") + rect(0, y, 100, 0.9, p.light)
    return f"<defs>{defs}</defs>{frame('url(#print)')}{floor}"


def dots(size: float, ink: str, ground: str, rng: Random) -> tuple[str, int]:
    """One tile of the print, and the angle that it hangs at."""
    return "".join(disc(size * at, size * at, size * 0.17, ink) for at in (0.25, 0.75)), 0


def stripes(size: float, ink: str, ground: str, rng: Random) -> tuple[str, int]:
    return rect(0, 0, size * 0.5, size, ink, 'fill-opacity=".7"'), rng.choice((-45, 45))


def fans(size: float, ink: str, ground: str, rng: Random) -> tuple[str, int]:
    # Each row covers the lower half of the one before, as the waves of a seigaiha print do.
    places = ((0.0, 0.5), (1.0, 0.5), (0.5, 1.0), (0.0, 1.5), (1.0, 1.5))
    rings = ((0.53, ink), (0.43, ground), (0.3, ink), (0.18, ground))
    return "".join(disc(size * x, size * y, size * r, c) for x, y in places for r, c in rings), 0


def paint_outdoor(p: Palette, rng: Random) -> str:
    """Hills under a sun."""
    side = rng.choice((-1, 1))
    x, y = 50 + side * rng.uniform(20, 30), rng.uniform(17, 24)
    defs = fade("sky", [(0, p.soft, 1), (0.75, p.light, 1)])
    defs += pool("haze", x, y, 26, [(0.3, p.light, 1), (1, p.light, 0)])
    meadow = mix(p.main, p.soft, 0.1)
    defs += fade("near", [(0, mix(p.main, p.deep, 0.25), 1), (0.3, meadow, 1)])
    sun = disc(x, y, 26, "url(#haze)")
    sun += disc(x, y, rng.uniform(8, 10), mix(p.accent, p.light, 0.25))
    sky = sun + cloud(50 - side * rng.uniform(22, 32), rng.uniform(16, 28), p)
    far = hill(rng, 52, 5, mix(p.soft, p.main, 0.55))
    far += hill(rng, 61, 4, mix(p.main, p.deep, 0.3))
    trees = "".join(
        tree(50 + s * rng.uniform(31, 45), rng.uniform(66, 71), rng.uniform(12, 19), p)
        for s in (-1, 1, side)
    )
    near = hill(rng, 71, 1.5, "url(#near)")
    return f"<defs>{defs}</defs>{frame('url(#sky)')}{sky}{far}{trees}{near}"


def paint_night(p: Palette, rng: Random) -> str:
    """Stars and a moon over dark hills."""
    side = rng.choice((-1, 1))
    x, y = 50 + side * rng.uniform(22, 31), rng.uniform(17, 23)
    dusk = mix(p.night, p.deep, 0.75)
    defs = fade("sky", [(0, p.night, 1), (0.42, dusk, 1), (0.72, p.main, 1)])
    defs += pool("moon", x, y, 24, [(0.2, p.soft, 0.5), (1, p.soft, 0)])
    defs += fade("near", [(0, p.night, 1), (0.28, mix(p.deep, p.night, 0.3), 1), (1, p.deep, 1)])
    moon = disc(x, y, 24, "url(#moon)") + crescent(x, y, rng.uniform(8, 10), side, p.light)
    far = hill(rng, 56, 5, mix(p.deep, p.main, 0.35))
    far += hill(rng, 63, 4, mix(p.deep, p.night, 0.35))
    near = hill(rng, 72, 1.5, "url(#near)")
    return f"<defs>{defs}</defs>{frame('url(#sky)')}{stars(rng, x, y, p)}{moon}{far}{near}"


def paint_shelf(p: Palette, rng: Random) -> str:
    """A board on the wall, two small ones above it with things on them."""
    lit, dim = mix(p.soft, p.light, 0.5), mix(p.soft, p.main, 0.45)
    defs = fade("wall", [(0, lit, 1), (1, dim, 1)])
    defs += fade("under", [(0, p.night, 0.4), (1, p.night, 0)])
    defs += fade("board", [(0, mix(p.main, p.deep, 0.45), 1), (1, p.deep, 1)])
    things = [books, pot]
    rng.shuffle(things)
    drawn = ""
    for is_left, put in zip((True, False), things, strict=True):
        y, reach = rng.uniform(33, 46), rng.uniform(21, 25)
        x = 0 if is_left else 100 - reach
        drawn += rect(x, y + 2.6, reach, 5, "url(#under)") + put(rng, x + reach / 2, y, p)
        drawn += rect(x, y, reach, 2.8, "url(#board)")
    drawn += rect(0, 86, 100, 14, "url(#under)")
    drawn += rect(0, 77, 100, 4.5, mix(p.main, p.soft, 0.35)) + rect(0, 81.5, 100, 5, "url(#board)")
    return f"<defs>{defs}</defs>{frame('url(#wall)')}{drawn}"


def paint_festive(p: Palette, rng: Random) -> str:
    """Bokeh lights, a garland and confetti."""
    lit, dim = mix(p.main, p.soft, 0.35), mix(p.main, p.deep, 0.72)
    defs = pool("room", 50, 48, 75, [(0, lit, 1), (1, dim, 1)])
    defs += fade("floor", [(0, p.deep, 0.55), (0.4, p.main, 0.35), (1, p.soft, 0.5)])
    room = frame("url(#room)") + bokeh(rng, p) + rect(0, 73, 100, 27, "url(#floor)")
    return f"<defs>{defs}</defs>{room}{confetti(rng, p)}{garland(rng, p)}"


@dataclass(frozen=True, slots=True)
class Setting:
    """A place, and when and where a shop would show it.

    A season is the weather where the shopper is: December in Sydney is summer.
    """

    name: str
    paint: Painter
    seasons: tuple[Season, ...] = SEASONS
    avoided: tuple[tuple[str, Season], ...] = ()
    """Languages (BCP 47, without region) in one of whose seasons it would be out of place."""

    def __post_init__(self) -> None:
        if not self.seasons:
            raise ValueError(f"{self.name}: suits no season")
        for season in (*self.seasons, *(season for _, season in self.avoided)):
            if season not in SEASONS:
                raise ValueError(f"{self.name}: no season {season!r}: one of {', '.join(SEASONS)}")
        for language, season in self.avoided:
            if not language.isalpha() or not language.islower():
                raise ValueError(f"{self.name}: no language {language!r}: want for instance 'fi'")
            if season not in self.seasons:
                raise ValueError(f"{self.name}: is not for {season}, so not avoided then either")

    def suits(self, season: Season, locale: str = "") -> bool:
        """Whether to show it in this season to someone of this locale; "" is everyone."""
        language = locale.replace("_", "-").split("-")[0].lower()
        return season in self.seasons and (language, season) not in self.avoided


IN_LEAF: tuple[Season, ...] = ("spring", "summer", "autumn")
# Where these are spoken, summer nights are too bright for stars.
WHITE_NIGHTS: tuple[tuple[str, Season], ...] = tuple(
    (language, "summer") for language in ("et", "fi", "nb", "nn", "sv")
)

# Bunting and confetti are any party's, so the festive one is for all year and of no religion.
SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("studio", paint_studio),
        Setting("glow", paint_glow),
        Setting("table", paint_table, seasons=IN_LEAF),
        Setting("pattern", paint_pattern),
        Setting("outdoor", paint_outdoor, seasons=IN_LEAF),
        Setting("night", paint_night, avoided=WHITE_NIGHTS),
        Setting("shelf", paint_shelf),
        Setting("festive", paint_festive),
    )
}
