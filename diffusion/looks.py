"""What a creative may look like, by axis: the words that simulated shoppers have tastes in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from diffusion.composition import Pixels, resize
from diffusion.palettes import Palette
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.treatments import TREATMENTS, apply_treatment

AXES: dict[str, tuple[str, ...]] = {
    "palette": tuple(PALETTES),
    "setting": tuple(SETTINGS),
    "treatment": TREATMENTS,
}


FILTERED = ("flat", "watercolour")
FILTERED_SIDE = 320
"""Of a packshot whose treatment takes filters as wide as a share of it: seconds at 512 px."""

TREATED_SIDE = 640
"""Of a packshot in any other treatment, at most: seconds at 2048 px."""


@dataclass(frozen=True, slots=True)
class SceneWish:
    """What should surround a product: words of `AXES` and of diffusion.scenery.SEASONS, empty for
    what is left to the shopper's taste; `brief` and `avoided` are free text. `kept_out` is what
    market and brand do not want to see: for models that read it, and no wish of who asks."""

    palette: str = ""
    setting: str = ""
    season: str = ""
    brief: str = ""
    avoided_palettes: frozenset[str] = frozenset()
    avoided_settings: frozenset[str] = frozenset()
    avoided: str = ""
    kept_out: tuple[str, ...] = ()


ANYWHERE = SceneWish()


def choose_treatment(look: Collection[str]) -> tuple[str, Palette | None]:
    """The one of a look, and its palette where that is a duotone: only those have two inks."""
    treatment = next((choice for choice in AXES["treatment"] if choice in look), "natural")
    palette = next((choice for choice in AXES["palette"] if choice in look), None)
    return treatment, PALETTES[palette] if palette and treatment == "duotone" else None


def dress(cutout: Pixels, look: Collection[str]) -> Pixels:
    """A packshot [H, W, 4] as the look of an image has it: in its treatment, if it has one. The
    same array where nothing is done; else up to half a second on one core."""
    treatment, colours = choose_treatment(look)
    if treatment == "natural":
        return cutout
    height, width = cutout.shape[:2]
    longest = FILTERED_SIDE if treatment in FILTERED else TREATED_SIDE
    if (scale := longest / max(height, width)) < 1:
        cutout = resize(cutout, max(1, round(width * scale)), max(1, round(height * scale)))
    return apply_treatment(cutout, treatment, colours)
