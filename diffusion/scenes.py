"""Scenes: what a creative's surroundings may be, as palette x setting x seed."""

import io
from dataclasses import dataclass
from random import Random

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from diffusion.palettes import PALETTES, Palette
from diffusion.scenery import SEASONS, SETTINGS, Season, Setting

__all__ = [
    "PALETTES",
    "SEASONS",
    "SETTINGS",
    "Palette",
    "Scene",
    "Season",
    "Setting",
    "draw_scene",
    "render_scene",
]


@dataclass(frozen=True, slots=True)
class Scene:
    """One place in one light; the seed moves its props, its light and its horizon."""

    palette: str
    setting: str
    seed: int

    def __post_init__(self) -> None:
        if self.palette not in PALETTES:
            raise ValueError(f"no palette {self.palette!r}: choose one of {', '.join(PALETTES)}")
        if self.setting not in SETTINGS:
            raise ValueError(f"no setting {self.setting!r}: choose one of {', '.join(SETTINGS)}")


def draw_scene(scene: Scene) -> str:
    """The scene as an SVG document."""
    # Seeded without the palette: recolouring a scene leaves everything where it was.
    rng = Random(f"{scene.setting}/{scene.seed}")
    body = SETTINGS[scene.setting].paint(PALETTES[scene.palette], rng)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{body}</svg>'


def render_scene(scene: Scene, side: int = 128) -> NDArray[np.uint8]:
    """The scene as RGB uint8 [side, side, 3]; the same scene always gives the same pixels."""
    png = resvg_py.svg_to_bytes(
        svg_string=draw_scene(scene), width=side, height=side, skip_system_fonts=True
    )
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))
