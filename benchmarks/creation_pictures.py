"""Pictures of wishes, as the shipped models make them, and what the judge reads from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from benchmarks.evaluated_world import SimulatedAudience, World, open_world
from diffusion.checkpoint import DEFAULT_CHECKPOINT, FAST_CHECKPOINT
from diffusion.composition import Pixels
from diffusion.evaluation.generation import Model, Order, generate
from diffusion.evaluation.judge import load_judge
from diffusion.evaluation.study import Reader
from diffusion.image_model import ShopperFacts, Wish
from diffusion.looks import AXES, dress
from diffusion.model import ProductDiffusion
from diffusion.samplers import Plan
from diffusion.walks import Walk
from server.core import Mode
from server.imaging.compose import compose

SIDE = 128
SEED = 2025
LONG = 20
"""Clicks of a shopper of whom enough is known."""

LAB = ImageCms.buildTransformFromOpenProfiles(
    ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
)
Floats = NDArray[np.float32]
Hits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Question:
    """A product for somebody, as a wish has it."""

    product: int
    shopper: int | None
    wish: Wish
    seed: int


@dataclass(frozen=True, slots=True)
class PlannedOrder(Order):
    """An order whose walk the model itself has planned."""

    route_plan: Plan = ()
    route_walk: Walk = ()

    def plan(self, model: Model) -> tuple[Plan, Walk]:
        return self.route_plan, self.route_walk


@dataclass(frozen=True)
class Answer:
    """n pictures: as sampled and as shown, what was chosen for each, the looks that the judge sees
    [n, 3], whether it knows the product before and after paste-back [n], and its features."""

    raw: Pixels
    shown: Pixels
    chosen: Sequence[tuple[str, ...]]
    looks: NDArray[np.int64]
    raw_found: Hits
    shown_found: Hits
    features: Floats

    def read(self, axis: str) -> list[str]:
        return [AXES[axis][number] for number in self.looks[:, list(AXES).index(axis)]]

    def hits(self, axis: str, expected: Sequence[str]) -> Hits:
        return np.array([a == b for a, b in zip(self.read(axis), expected, strict=True)])


@dataclass(frozen=True)
class Studio:
    """Shop, shoppers, judge and the shipped models."""

    world: World
    audience: SimulatedAudience
    reader: Reader
    main: ProductDiffusion
    student: ProductDiffusion

    @classmethod
    def open(cls, num_shoppers: int, num_creatives: int) -> Studio:
        main = ProductDiffusion.load(DEFAULT_CHECKPOINT)
        student = ProductDiffusion.load_student(FAST_CHECKPOINT, main)
        world = open_world(main.encoders)
        audience = SimulatedAudience(world, main.encoders, num_shoppers, num_creatives, SEED)
        judge = load_judge()
        reader = Reader(judge, judge.read(world.packshots).product.numpy())
        return cls(world, audience, reader, main, student)

    @property
    def held_out(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.world.shop.is_held_out)

    def find_shoppers(self, fewest: int, most: int = 10**9) -> NDArray[np.int64]:
        counts = self.audience.num_clicks
        return np.flatnonzero((counts >= fewest) & (counts <= most))

    def taste(self, shopper: int, axis: str) -> str:
        return AXES[axis][int(self.audience.tastes[shopper, list(AXES).index(axis)])]

    def ask(self, questions: Sequence[Question], model: ProductDiffusion | None = None) -> Answer:
        model = model or self.main
        shop, orders, chosen = self.world.shop, [], []
        prepared = {}
        for question in questions:
            p = question.product
            if p not in prepared:
                vectors = shop.image_embeddings[p], shop.title_embeddings[p]
                prepared[p] = model.prepare_product(shop.cutouts[p], *vectors)
            who = self._know(question)
            route = model.plan(prepared[p], who, question.wish, question.seed)
            chosen.append(route.look)
            scale = question.wish.strength * model.preset.max_shopper_scale
            orders.append(
                PlannedOrder(
                    prepared[p],
                    None if who is None else who.vector,
                    question.wish.task,
                    scale,
                    len(route.plan),
                    question.seed,
                    route_plan=route.plan,
                    route_walk=route.walk,
                )
            )
        raw = generate(model, orders, label=f"{len(orders)} pictures")
        shown = np.stack(
            [self.show(r, q, c) for r, q, c in zip(raw, questions, chosen, strict=True)]
        )
        products = np.array([question.product for question in questions])
        looks, shown_found, features = self.reader.read(shown, products)
        _, raw_found, _ = self.reader.read(raw, products)
        return Answer(raw, shown, chosen, looks, raw_found, shown_found, features)

    def show(
        self, raw: Pixels, question: Question, look: tuple[str, ...], side: int = SIDE
    ) -> Pixels:
        """With the packshot's own pixels, in a creation in the look's treatment."""
        cutout = self.world.shop.cutouts[question.product]
        if question.wish.task == "create":
            cutout = dress(cutout, look)
        return compose(raw, cutout, side, Mode.PRESERVE)

    def _know(self, question: Question) -> ShopperFacts | None:
        if question.shopper is None:
            return None
        embed = self.audience.embed
        vector = embed(question.shopper, question.product)
        return ShopperFacts(vector, embed(question.shopper, None))


def find_distances(answer: Answer, num_images: int) -> tuple[list[float], list[float]]:
    """Mean distance of all pairs within each run of images: of pixels (CIE 1976, after blurring
    away noise by averages of 8 x 8), and of the judge's features."""
    lab = np.stack([to_lab(pixels) for pixels in answer.shown])
    colours, features = [], []
    for start in range(0, len(lab), num_images):
        pairs = list(combinations(range(start, start + num_images), 2))
        colours.append(np.mean([np.linalg.norm(lab[a] - lab[b], axis=-1).mean() for a, b in pairs]))
        apart = [np.linalg.norm(answer.features[a] - answer.features[b]) for a, b in pairs]
        features.append(np.mean(apart))
    return [float(c) for c in colours], [float(f) for f in features]


def to_lab(pixels: Pixels) -> Floats:
    """RGB [S, S, 3] → L*a*b* [S / 8, S / 8, 3]."""
    side = len(pixels) // 8
    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
    coded = np.asarray(ImageCms.applyTransform(small, LAB))
    signed = coded.view(np.int8)  # of a and b
    lightness = coded[..., 0] * np.float32(100 / 255)
    return np.stack([lightness, signed[..., 1], signed[..., 2]], axis=-1, dtype=np.float32)
