"""The fifth job: new pictures from a brief, under control."""

from __future__ import annotations

from collections.abc import Sequence

from etalage import Client, Result, Scene
from etalage.creatives import Palette, Season, Setting
from server.demo.jobs.source import show_source
from server.demo.page import Figure, Gallery, Section, Shelf
from server.demo.program import SEED, Cast, title

PRODUCT = "potted-plant"
BRIEF = "a starry night"
NUM_IMAGES = 5

SCENES: tuple[tuple[Palette, Setting], ...] = (
    ("sand", "studio"),
    ("coral", "pattern"),
    ("lemon", "table"),
    ("mint", "shelf"),
    ("sky", "outdoor"),
    ("lavender", "glow"),
    ("rose", "festive"),
    ("graphite", "night"),
)
SEASONS: tuple[Season, ...] = ("spring", "summer", "autumn", "winter")


def create(client: Client, product: str, brief: str, diversity: float) -> Result:
    return client.generate(
        product,
        mode="create",
        scene=Scene(brief=brief),
        diversity=diversity,
        num_images=NUM_IMAGES,
        model="fast",
        seed=SEED,
        format="webp",
    )


def direct(client: Client, product: str, scene: Scene) -> Result:
    return client.generate(
        product, mode="create", scene=scene, model="fast", seed=SEED, format="webp"
    )


def show(client: Client, cast: Cast, shelf: Shelf) -> Section:
    return Section(
        "creation",
        "Creation",
        "A brief in words becomes new pictures, as alike or as different as the campaign wants. "
        "Palette, setting and season can be fixed or ruled out; a seed makes its picture again.",
        (
            _dial(client, shelf, 0.0, "The dial at 0: variations of one idea"),
            _dial(client, shelf, 1.0, "The dial at 1: as many ideas as pictures"),
            _direct(client, shelf, "bicycle", "Palettes and settings, fixed", _palettes()),
            _direct(client, shelf, "watch", "Seasons", _seasons()),
        ),
        f"{show_source(create)}\n\n\n{show_source(direct)}",
        f"etalage generate --product {PRODUCT} --mode create --brief '{BRIEF}' \\\n"
        f"    --diversity 1 --num-images {NUM_IMAGES} -o {PRODUCT}.png",
    )


def _palettes() -> list[Scene]:
    return [Scene(palette=palette, setting=setting) for palette, setting in SCENES]


def _seasons() -> list[Scene]:
    return [Scene(setting="outdoor", season=season) for season in SEASONS]


def _dial(client: Client, shelf: Shelf, diversity: float, heading: str) -> Gallery:
    result = create(client, PRODUCT, BRIEF, diversity)
    figures = tuple(
        shelf.put(
            f"create-{diversity:.0f}-{number}",
            image.data,
            f"{title(PRODUCT)}: {', '.join(image.look) or BRIEF}",
            ", ".join(image.look),
            f"seed {image.seed}",
        )
        for number, image in enumerate(result.images, 1)
    )
    return Gallery(figures, heading, f"Brief: “{BRIEF}”.", height=176)


def _direct(
    client: Client, shelf: Shelf, product: str, heading: str, scenes: Sequence[Scene]
) -> Gallery:
    figures = [_put(shelf, product, scene, direct(client, product, scene)) for scene in scenes]
    return Gallery(tuple(figures), heading, height=190 if len(figures) < 5 else 118)


def _put(shelf: Shelf, product: str, scene: Scene, result: Result) -> Figure:
    words = [word for word in (scene.season, scene.palette, scene.setting) if word]
    name = f"create-{product}-{'-'.join(words)}"
    alt = f"{title(product)}: {', '.join(words)}"
    return shelf.put(
        name, result.image.data, alt, words[0], "" if scene.season else ", ".join(words[1:])
    )
