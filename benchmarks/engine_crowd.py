"""Simulated shoppers of the embedded shop as rows of the engine, and a judge for their pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.evaluated_study import SEED, paste
from benchmarks.evaluated_world import SimulatedAudience, World, open_world
from diffusion.evaluation.judge import JUDGE, load_judge
from diffusion.evaluation.study import (
    HISTORY_BINS,
    LONG_BINS,
    Mask,
    Reader,
    find_shoppers,
    pick_products,
)
from diffusion.fusion import ProductCondition, ShopperCondition
from diffusion.guidance import Guidance
from diffusion.image_model import Preset
from diffusion.model import ProductDiffusion
from diffusion.samplers import SAMPLERS
from diffusion.walks import Rules
from features.simulate import WORLD
from server.core import Pixels
from server.rows import Defaults
from server.sampling.row import RowRequest

DEFAULTS, PRESET = Defaults(), Preset()
TASK = "preserve"
PLAIN = Rules()
"""Everything known at every sigma, and nothing to share."""

USUAL = Guidance(PRESET.product_scale, DEFAULTS.strength * PRESET.max_shopper_scale)
REUSE = DEFAULTS.max_reuse_error


@dataclass(frozen=True, slots=True)
class Pair:
    """One picture that is wanted: of a product, for a shopper."""

    product: int
    shopper: int
    seed: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge read from n pictures, [n] each: whether the shopper's palette and setting are
    there, and whether the product is recognised as shown, and before its pixels are pasted back."""

    palette: Mask
    setting: Mask
    shown: Mask
    raw: Mask


class Crowd:
    """Products and shoppers at hand; `shoppers` are the numbers of all who ever clicked."""

    def __init__(self, model: ProductDiffusion, world: World, audience: SimulatedAudience) -> None:
        self.model, self.world, self.audience = model, world, audience
        self.shoppers = find_shoppers(audience, 1, 10**9).tolist()
        self._products: dict[int, ProductCondition] = {}
        judge = load_judge(JUDGE)
        self._reader = Reader(judge, judge.read(world.packshots).product.numpy())

    @classmethod
    def open(
        cls, model: ProductDiffusion, folder: Path, num_shoppers: int, num_creatives: int
    ) -> Crowd:
        world = open_world(model.encoders, folder)
        audience = SimulatedAudience(world, model.encoders, num_shoppers, num_creatives, SEED)
        return cls(model, world, audience)

    def draw_pairs(self, count: int, seed: int = SEED) -> list[Pair]:
        """Products and well-known shoppers at random, each with a seed of its own."""
        rng = np.random.default_rng(seed)
        products = pick_products(self.world.shop, count, 0.25, rng)
        shoppers = self.draw_shoppers(count, rng)
        pairs = enumerate(zip(products.tolist(), shoppers, strict=True))
        return [Pair(*pair, seed) for seed, pair in pairs]

    def draw_slate(self, num_products: int, number: int) -> list[Pair]:
        """Different products for one well-known shopper, of one seed."""
        rng = np.random.default_rng((SEED, number))
        (shopper,) = self.draw_shoppers(1, rng)
        products = rng.choice(len(self.world.rows), num_products, replace=False)
        return [Pair(int(product), shopper, number) for product in products]

    def draw_shoppers(self, count: int, rng: np.random.Generator) -> list[int]:
        """Of whom enough is known, as the targets of the evaluation have it."""
        bins = [find_shoppers(self.audience, *HISTORY_BINS[name]) for name in LONG_BINS]
        known = np.concatenate(bins)
        return [int(shopper) for shopper in np.resize(rng.permutation(known), count)]

    def ask(
        self,
        pair: Pair,
        num_steps: int = PRESET.num_steps,
        *,
        rules: Rules | None = None,
        max_reuse_error: float = 0.0,
        guidance: Guidance = USUAL,
        model: ProductDiffusion | None = None,
    ) -> RowRequest:
        """As the server would plan it; `rules` in the place of the model's own."""
        model = model or self.model
        rules = rules or model.rules
        plan = SAMPLERS["euler"](model.sigmas(num_steps))
        product, shopper = self._prepare(pair.product), self._know(pair, rules)
        walk = rules.plan(product, shopper, TASK, guidance, plan, pair.seed)
        return RowRequest(model.name, pair.seed, plan, walk, None, max_reuse_error)

    def judge(self, pairs: Sequence[Pair], pictures: Sequence[Pixels]) -> Verdict:
        cutouts = [self.world.shop.cutouts[pair.product] for pair in pairs]
        with ThreadPoolExecutor() as pool:
            shown = np.stack([*pool.map(lambda p, c: paste(p, c, TASK), pictures, cutouts)])
        products = np.array([pair.product for pair in pairs])
        looks, found, _ = self._reader.read(shown, products)
        _, found_raw, _ = self._reader.read(np.stack(pictures), products)
        liked = looks == self.audience.tastes[[pair.shopper for pair in pairs]]
        return Verdict(liked[:, 0], liked[:, 1], found, found_raw)

    def _prepare(self, number: int) -> ProductCondition:
        if number not in self._products:
            shop = self.world.shop
            vectors = shop.image_embeddings[number], shop.title_embeddings[number]
            self._products[number] = self.model.prepare_product(shop.cutouts[number], *vectors)
        return self._products[number]

    def _know(self, pair: Pair, rules: Rules) -> ShopperCondition:
        embed = self.audience.embed
        return rules.know(embed(pair.shopper, pair.product), embed(pair.shopper, None))


def copy_part(folder: Path, num_products: int) -> Path:
    """A shop of so many products, picked evenly, in a folder of its own."""
    lines = (WORLD / "products.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    (folder / "packshots").mkdir(parents=True)
    kept = rows[:: len(rows) // num_products][:num_products]
    for row in kept:
        shutil.copy(WORLD / row["packshot"], folder / row["packshot"])
    (folder / "products.jsonl").write_text("\n".join(map(json.dumps, kept)) + "\n", "utf-8")
    return folder
