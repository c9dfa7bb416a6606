"""How a scene is told to a model that reads: a choice of each axis in words of the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusion.choices import SCENE_AXES, narrow
from diffusion.looks import ANYWHERE

if TYPE_CHECKING:
    from diffusion.families.specification import SceneWords
    from diffusion.image_model import Wish

PALETTE_WORDS = {
    "sand": "beige and brown",
    "coral": "orange red",
    "lemon": "yellow",
    "mint": "mint green",
    "sky": "blue",
    "lavender": "violet",
    "rose": "pink",
    "graphite": "grey",
}
SETTING_WORDS = {
    "studio": "on a seamless paper backdrop in window light",
    "glow": "on a pedestal in front of a soft round light",
    "table": "on a wooden table",
    "pattern": "in front of a patterned wall",
    "outdoor": "outdoors on a meadow with hills",
    "night": "under a night sky with stars and a moon",
    "shelf": "on a shelf",
    "festive": "at a party with a garland and confetti",
}
SEASON_WORDS = {season: season for season in ("spring", "summer", "autumn", "winter")}


@dataclass(frozen=True, slots=True)
class SceneTold:
    """`suffix` goes behind a prompt, `avoided` into the negative one; `look` was chosen."""

    suffix: str = ""
    avoided: str = ""
    look: tuple[str, ...] = ()


def tell_scene(words: SceneWords, wish: Wish, seed: int) -> SceneTold:
    """What is asked for, what the seed chose, and the brief as it stands: such a model reads it.

    Nothing is chosen on an axis that the brief names but once. Raises ValueError where a scene
    leaves nothing open.
    """
    scene = wish.scene
    if scene == ANYWHERE and wish.diversity == 0:
        return SceneTold()
    look = dict(narrow(scene).divert(seed, wish.diversity))
    look |= {axis: own for axis in SCENE_AXES if (own := getattr(scene, axis))}
    texts = []
    if "setting" in look:
        texts.append(words.setting.format(words=words.settings[look["setting"]]))
    if "palette" in look:
        texts.append(words.palette.format(words=words.palettes[look["palette"]]))
    if scene.season:
        texts.append(words.season.format(words=words.seasons[scene.season]))
    if brief := " ".join(scene.brief.split()):
        texts.append(words.brief.format(words=brief))
    avoided = [words.palettes[choice] for choice in sorted(scene.avoided_palettes)]
    avoided += [words.settings[choice] for choice in sorted(scene.avoided_settings)]
    avoided += [" ".join(scene.avoided.split()), *scene.kept_out]
    chosen = tuple(look[axis] for axis in SCENE_AXES if axis in look)
    return SceneTold("".join(texts), ", ".join(filter(None, avoided)), chosen)
