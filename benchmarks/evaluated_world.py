"""What is evaluated on: the embedded shop, and simulated shoppers that no training has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from diffusion.composition import Pixels, resize
from diffusion.encoders import Encoders
from diffusion.evaluation.study import Indices, Shop
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.taste import embed_shopper, pool_clicks
from diffusion.treatments import TREATMENTS
from features.catalogue import CatalogueProduct
from features.creatives import (
    CreativeBank,
    choose_creatives,
    embed_creatives,
    render_creative,
    shrink,
)
from features.histories import weigh
from features.packshots import open_packshot, show_product
from features.recent_clicks import keep_last
from features.shoppers import Population, draw_population
from features.simulate import WORLD
from features.vector import Vector

MAX_SIDE = 256  # of the cut-out packshots: nobody sees more on a creative of 296 px
ORACLE_CLICKS = 48
UNSEEN_SEEDS = 1_000_000
"""From here on scenes are ones that neither judge nor generator has met."""


@dataclass(frozen=True)
class World:
    """The shop, its products as the catalogue tells them (`rows` with titles and tags), and their
    packshots on white [n, 128, 128, 3]."""

    folder: Path
    shop: Shop
    rows: Sequence[Mapping[str, Any]]
    packshots: Pixels

    @property
    def products(self) -> list[CatalogueProduct]:
        return [
            CatalogueProduct(
                row["product_id"],
                row["titles"],
                row["category"],
                row["split"],
                str(self.folder / row["packshot"]),
                False,
                None,
            )
            for row in self.rows
        ]


def open_world(encoders: Encoders, world: Path = WORLD) -> World:
    lines = (world / "products.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    with ThreadPoolExecutor() as pool:
        opened = list(pool.map(lambda row: open_product(world / row["packshot"]), rows))
    cutouts = [cutout for cutout, _ in opened]
    packshots = np.stack([packshot for _, packshot in opened])
    shop = Shop(
        ids=[row["product_id"] for row in rows],
        is_held_out=np.array([row["split"] == "held_out" for row in rows]),
        cutouts=cutouts,
        image_embeddings=encoders.encode_images(packshots),
        title_embeddings=encoders.encode_texts([row["titles"]["en"] for row in rows]),
    )
    return World(world, shop, rows, packshots)


def open_product(path: Path) -> tuple[Pixels, Pixels]:
    """Cut out, and on white as encoders and judge are shown it."""
    packshot = open_packshot(str(path))
    height, width = packshot.shape[:2]
    scale = MAX_SIDE / max(height, width)
    small = resize(packshot, max(1, round(width * scale)), max(1, round(height * scale)))
    return small, show_product(packshot)


class SimulatedAudience:
    """Shoppers with hidden tastes, each as the feature store has them just after the last click."""

    def __init__(
        self, world: World, encoders: Encoders, num_shoppers: int, num_creatives: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        self._shown = [product for product in world.products if product.split != "held_out"]
        self._encoders, self._shop = encoders, world.shop
        bank = choose_creatives(len(self._shown), num_creatives, rng)
        self.population: Population = draw_population(num_shoppers, bank, self._shown, rng)
        self._embeddings = embed_creatives(bank, self._shown, encoders)
        tastes = self.population.tastes
        self.tastes: Indices = np.stack([tastes.palette, tastes.setting, tastes.treatment], axis=1)
        self.num_clicks: Indices = np.diff(self.population.clicks.starts)
        self._looks: dict[tuple[int, ...], Vector] = {}
        self._remember = cache(self._pool)

    def embed(self, shopper: int, product: int | None) -> Vector:
        return embed_shopper(*self._remember(shopper), self._see(product))

    def embed_oracle(self, shopper: int, product: int | None) -> Vector:
        """Of a shopper with 48 clicks on nothing else; `prepare_oracle` comes first."""
        found = self._looks[tuple(self.tastes[shopper].tolist())]
        clicked = np.resize(found, (ORACLE_CLICKS, found.shape[1]))
        weights = np.ones(ORACLE_CLICKS, np.float32)
        profile, recent = pool_clicks(clicked, weights), keep_last(clicked, weights)
        return embed_shopper(profile, recent.embeddings, recent.weights, self._see(product))

    def prepare_oracle(self, shoppers: Indices, per_look: int, seed: int) -> None:
        """Renders and encodes creatives of exactly what these shoppers like."""
        rng = np.random.default_rng(seed)
        looks = np.unique(self.tastes[shoppers], axis=0)
        palette, setting, treatment = np.repeat(looks, per_look, axis=0).T
        count = len(palette)
        product, scene = rng.integers(len(self._shown), size=count), rng.integers(48, size=count)
        bank = CreativeBank(palette, setting, treatment, product, scene)
        embeddings = embed_creatives(bank, self._shown, self._encoders)
        for look, found in zip(looks.tolist(), np.split(embeddings, len(looks)), strict=True):
            self._looks[tuple(look)] = found

    def _see(self, product: int | None) -> Vector:
        embeddings = self._shop.image_embeddings
        return np.zeros_like(embeddings[0]) if product is None else embeddings[product]

    def _pool(self, shopper: int) -> tuple[Vector, Vector, Vector]:
        """Profile, and the last clicks with their weights."""
        clicks = self.population.clicks
        mine = clicks.of(shopper)
        ages_s = clicks.age_s[mine]
        weights = weigh(clicks.action[mine], ages_s - ages_s[-1])
        clicked = self._embeddings[clicks.creative[mine]]
        recent = keep_last(clicked, weights)
        return pool_clicks(clicked, weights), recent.embeddings, recent.weights


def render_composites(
    shop: Shop, products: Indices, looks: Indices, first_seed: int = UNSEEN_SEEDS
) -> Pixels:
    """Real creatives [n, 128, 128, 3] of products [n] in looks [n, 3], each in its own scene."""
    palettes, settings = list(PALETTES), list(SETTINGS)

    def render(number: int) -> Pixels:
        palette, setting, treatment = looks[number].tolist()
        packshot = shrink(shop.cutouts[products[number]])
        seed = first_seed + number
        return render_creative(
            packshot, palettes[palette], settings[setting], TREATMENTS[treatment], seed
        )

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(render, range(len(products)))))


def draw_looks(count: int, rng: np.random.Generator, *, natural: bool) -> Indices:
    looks = rng.integers((len(PALETTES), len(SETTINGS), len(TREATMENTS)), size=(count, 3))
    if natural:
        looks[:, 2] = TREATMENTS.index("natural")
    return looks
