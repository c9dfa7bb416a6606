"""What a creative may look like, by axis: the words that simulated shoppers have tastes in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from diffusion.composition import Pixels, resize
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


@dataclass(frozen=True, slots=True)
class SceneWish:
    """What should surround a product: words of `AXES` and of diffusion.scenery.SEASONS, empty for
    what is left to the shopper's taste; `brief` and `avoided` are free text."""

    palette: str = ""
    setting: str = ""
    season: str = ""
    brief: str = ""
    avoided_palettes: frozenset[str] = frozenset()
    avoided_settings: frozenset[str] = frozenset()
    avoided: str = ""


ANYWHERE = SceneWish()


def dress(cutout: Pixels, look: Collection[str]) -> Pixels:
    """A packshot [H, W, 4] as the look of an image has it: in its treatment, if it has one, and
    in two inks of its palette where that is a duotone. The same array where nothing is done; else
    up to half a second on one core."""
    treatment = next((choice for choice in AXES["treatment"] if choice in look), "natural")
    if treatment == "natural":
        return cutout
    palette = next((choice for choice in AXES["palette"] if choice in look), None)
    colours = PALETTES[palette] if palette and treatment == "duotone" else None
    if treatment in FILTERED:
        height, width = cutout.shape[:2]
        scale = min(1.0, FILTERED_SIDE / max(height, width))
        cutout = resize(cutout, max(1, round(width * scale)), max(1, round(height * scale)))
    return apply_treatment(cutout, treatment, colours)
