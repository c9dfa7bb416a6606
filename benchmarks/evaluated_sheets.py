"""Contact sheets of the evaluation: to be looked at, not counted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.evaluated_world import SimulatedAudience, World, render_composites
from diffusion.composition import Pixels
from diffusion.evaluation.generation import Model, generate
from diffusion.evaluation.report import Picture
from diffusion.evaluation.study import Settings, Trial, place_orders
from diffusion.looks import AXES
from server.core import Mode
from server.demo.contact_sheet import TILE, Sheet, Strip, Tile, draw_contact_sheet
from server.imaging.compose import compose

FOOTER = "the shoppers are simulated, and none of them was met in training"
WEBP_QUALITY = 82


@dataclass(frozen=True)
class Studio:
    """Everything that a picture needs."""

    world: World
    audience: SimulatedAudience
    settings: Settings

    def paint(self, model: Model, trials: Sequence[Trial]) -> list[Pixels]:
        """Before paste-back: [128, 128, 3] each."""
        orders = place_orders(model, trials, self.world.shop, self.audience, self.settings)
        return list(generate(model, list(orders)))

    def trial(self, product: int, shopper: int | None, task: str) -> Trial:
        given = "nothing" if shopper is None else "clicks"
        settings = self.settings
        steps, strength = settings.num_steps, settings.strength
        return Trial(product, shopper or 0, product, task, given, strength, steps)

    def show(self, pixels: Pixels, trial: Trial) -> Pixels:
        cutout = self.world.shop.cutouts[trial.product]
        return compose(pixels, cutout, TILE, Mode(trial.task))

    def name(self, product: int) -> str:
        title = str(self.world.rows[product]["titles"]["en"]).capitalize()
        return f"{title} *" if self.world.shop.is_held_out[product] else title

    def describe(self, shopper: int, *, num_axes: int = 2) -> str:
        names = [
            axis[i] for axis, i in zip(AXES.values(), self.audience.tastes[shopper], strict=True)
        ]
        return " · ".join(names[:num_axes])


def draw_grid(
    studio: Studio, model: Model, products: Sequence[int], shoppers: Sequence[int], task: str
) -> Picture:
    """Products in rows, nobody and each shopper in columns."""
    guests: list[int | None] = [None, *shoppers]
    trials = [studio.trial(product, guest, task) for product in products for guest in guests]
    painted = studio.paint(model, trials)
    num_axes = 2 if task == "preserve" else 3
    strips = []
    for row, product in enumerate(products):
        cells = range(row * len(guests), (row + 1) * len(guests))
        tiles = [
            _make_tile(studio, studio.show(painted[i], trials[i]), guest, num_axes)
            for i, guest in zip(cells, guests, strict=True)
        ]
        strips.append(_make_strip(studio, product, "One product, one seed.", tiles))
    what = {
        "preserve": ("Made for each shopper", "The product's own pixels stay."),
        "restyle": ("Drawn anew", "The product too is drawn to the shopper's taste."),
    }
    title, text = what[task]
    text = f"{text} Captions say what the shopper likes, which the model was never told."
    return _develop(f"{task}_grid", title, f"{text} * held out from training", strips)


def draw_side_by_side(
    studio: Studio,
    model: Model,
    baseline: Model | None,
    products: Sequence[int],
    shoppers: Sequence[int],
) -> Picture:
    """Generic, personalized and mismatched beside a real composite and the baseline."""
    strips = []
    for row, product in enumerate(products):
        mine, other = (shoppers[(row + k) % len(shoppers)] for k in range(2))
        trials = [studio.trial(product, who, "preserve") for who in (None, mine, other)]
        painted = studio.paint(model, trials)
        shown = [studio.show(p, t) for p, t in zip(painted, trials, strict=True)]
        look = studio.audience.tastes[[mine]].copy()
        look[0, 2] = 0
        real = render_composites(studio.world.shop, np.array([product]), look)[0]
        tiles = [
            Tile(encode(shown[0]), "generic", "no shopper", False),
            Tile(encode(shown[1]), "personalized", "for this shopper", True),
            Tile(encode(shown[2]), "mismatched", f"for {studio.describe(other)}", False),
            Tile(encode(real), "a real composite", "of this taste", False),
            Tile(encode(painted[1]), "personalized", "before paste-back", True),
        ]
        if baseline is not None:
            painted = studio.paint(baseline, trials[1:2])
            tiles += [
                Tile(encode(studio.show(painted[0], trials[1])), "baseline", "as shown", True),
                Tile(encode(painted[0]), "baseline", "before paste-back", True),
            ]
        text = f"For a shopper who likes {studio.describe(mine)}."
        strips.append(_make_strip(studio, product, text, tiles))
    title, text = (
        "Side by side",
        "One product and one seed in each row; only what is known changes.",
    )
    return _develop("side_by_side", title, text, strips)


def _make_tile(studio: Studio, pixels: Pixels, shopper: int | None, num_axes: int) -> Tile:
    if shopper is None:
        return Tile(encode(pixels), "generic", "no shopper", False)
    note = f"{int(studio.audience.num_clicks[shopper])} clicks"
    return Tile(encode(pixels), studio.describe(shopper, num_axes=num_axes), note, True)


def _make_strip(studio: Studio, product: int, text: str, tiles: Sequence[Tile]) -> Strip:
    packshot = encode(studio.world.packshots[product])
    return Strip(studio.name(product), text, tuple(tiles), packshot)


def _develop(name: str, title: str, text: str, strips: Sequence[Strip]) -> Picture:
    sheet = Sheet(title, text, tuple(strips), FOOTER)
    buffer = io.BytesIO()
    draw_contact_sheet(sheet).save(buffer, "WEBP", quality=WEBP_QUALITY)
    return Picture(name, title, text, buffer.getvalue())


def encode(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def choose_shoppers(audience: SimulatedAudience, count: int, seed: int) -> list[int]:
    """With histories, and with palettes and settings as different as can be."""
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for shopper in rng.permutation(np.flatnonzero(audience.num_clicks >= 20)).tolist():
        theirs = audience.tastes[shopper, :2]
        if all((theirs != audience.tastes[other, :2]).all() for other in chosen):
            chosen.append(shopper)
        if len(chosen) == count:
            break
    return chosen
