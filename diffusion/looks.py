"""What a creative may look like, by axis: the words that simulated shoppers have tastes in."""

from __future__ import annotations

from diffusion.scenes import PALETTES, SETTINGS
from diffusion.treatments import TREATMENTS

AXES: dict[str, tuple[str, ...]] = {
    "palette": tuple(PALETTES),
    "setting": tuple(SETTINGS),
    "treatment": TREATMENTS,
}
