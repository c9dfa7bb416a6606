"""A contact sheet of creations: briefs by products, and what diversity does."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from benchmarks.creation_pictures import Question, Studio
from benchmarks.evaluated_sheets import encode
from diffusion.composition import Pixels
from diffusion.image_model import Wish
from diffusion.looks import SceneWish
from server.demo.contact_sheet import TILE, Sheet, Strip, Tile, draw_contact_sheet

SHOWN = (
    ("no wish", SceneWish()),
    ("mint, outdoor", SceneWish(palette="mint", setting="outdoor")),
    ("“a sunny beach, not blue”", SceneWish(brief="a sunny beach, not blue")),
    ("“pink birthday party”", SceneWish(brief="pink birthday party")),
    ("winter", SceneWish(season="winter")),
    ("“watercolour, on a shelf”", SceneWish(brief="watercolour, on a shelf")),
    ("“sticker, autumn”", SceneWish(brief="sticker, autumn")),
)
DIVERSITIES = (0.0, 0.5, 1.0)
FOOTER = "creations of the embedded model for simulated shoppers; none of the products was trained"


def draw_sheet(studio: Studio, products: Sequence[int], shoppers: Sequence[int]) -> Image.Image:
    strips = [
        *(draw_briefs(studio, p, s) for p, s in zip(products, shoppers, strict=False)),
        *(draw_diversity(studio, products[0], shoppers[0], d) for d in DIVERSITIES),
    ]
    title, text = "Creations", "Surroundings by the model, the product's own packshot over them."
    return draw_contact_sheet(Sheet(title, text, tuple(strips), FOOTER))


def draw_briefs(studio: Studio, product: int, shopper: int) -> Strip:
    """One product for one shopper, in every scene."""
    wish = Wish("create", strength=0.5)
    questions = [
        Question(product, shopper, Wish(wish.task, strength=wish.strength, scene=scene), product)
        for _, scene in SHOWN
    ]
    tiles = paint(studio, questions, [name for name, _ in SHOWN])
    return make_strip(studio, product, f"For a shopper who likes {likes(studio, shopper)}.", tiles)


def draw_diversity(studio: Studio, product: int, shopper: int, diversity: float) -> Strip:
    """As many seeds of one request."""
    wish = Wish("create", strength=0.5, diversity=diversity)
    questions = [Question(product, shopper, wish, 50 + number) for number in range(len(SHOWN))]
    tiles = paint(studio, questions, [f"seed {question.seed}" for question in questions])
    return make_strip(studio, product, f"Diversity {diversity:g}", tiles)


def paint(studio: Studio, questions: Sequence[Question], names: Sequence[str]) -> list[Tile]:
    answer = studio.ask(questions)
    return [
        make_tile(studio.show(raw, question, look, TILE), name, look)
        for raw, question, look, name in zip(
            answer.raw, questions, answer.chosen, names, strict=True
        )
    ]


def make_tile(pixels: Pixels, name: str, look: tuple[str, ...]) -> Tile:
    return Tile(encode(pixels), name, " · ".join(look) or "nothing chosen", bool(look))


def make_strip(studio: Studio, product: int, text: str, tiles: Sequence[Tile]) -> Strip:
    title = str(studio.world.rows[product]["titles"]["en"]).capitalize()
    return Strip(title, text, tuple(tiles), encode(studio.world.packshots[product]))


def likes(studio: Studio, shopper: int) -> str:
    return " and ".join(studio.taste(shopper, axis) for axis in ("palette", "setting"))
