"""Simulated shoppers: a hidden taste each, and the clicks that come of it. Nobody here is real.

Only the clicks go further. The tastes are for evaluation, and never enter the feature store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffusion.scenes import PALETTES, SETTINGS
from diffusion.treatments import TREATMENTS
from features.catalogue import CatalogueProduct
from features.creatives import CreativeBank
from features.vector import Vector

DAY_S = 86_400.0
MAX_CLICKS = 200
SLATE = 48  # creatives that a shopper looks over before each click
HISTORY_S = 90 * DAY_S
NO_CONSENT_SHARE = 0.10
COLD_START_SHARE = 0.10
NOISE_SHARE = 0.10  # of the clicks have nothing to do with taste
LIKING = 4.0  # of the favourite, in units of the choice's own noise
SECOND_LIKING = 1.0
CATEGORY_LIKING = 1.0
POSITION_BIAS = 0.5  # a click at position k is (k + 1) ** -bias as likely

ACTIONS = ("view", "click", "cart", "purchase")
ACTION_SHARES = (0.15, 0.65, 0.13, 0.07)
AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
GENDERS = ("female", "male", "other", "")
GENDER_SHARES = (0.46, 0.46, 0.03, 0.05)

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tastes:
    """Hidden tastes of n shoppers: the favourite of each axis, and liking [n, choices] of all."""

    palette: Indices
    setting: Indices
    treatment: Indices
    palette_liking: Vector
    setting_liking: Vector
    treatment_liking: Vector
    category_liking: Vector


@dataclass(frozen=True, slots=True)
class Clicks:
    """Events as columns, by shopper and from old to new; `age_s` is seconds before now."""

    shopper: Indices
    creative: Indices
    position: Indices
    action: Indices
    age_s: NDArray[np.float64]
    starts: Indices
    """[n + 1]: shopper i has the events from starts[i] up to starts[i + 1]."""

    def of(self, shopper: int) -> slice:
        return slice(int(self.starts[shopper]), int(self.starts[shopper + 1]))


@dataclass(frozen=True, slots=True)
class Population:
    """n shoppers as columns: who they are, what they like and what they did."""

    ids: list[str]
    age_bands: list[str]
    genders: list[str]
    locales: list[str]
    interests: list[list[str]]
    consents: Mask
    tastes: Tastes
    clicks: Clicks

    def __len__(self) -> int:
        return len(self.ids)


def draw_population(
    count: int, bank: CreativeBank, products: Sequence[CatalogueProduct], rng: np.random.Generator
) -> Population:
    """Shoppers of a shop that has these products and these creatives of them."""
    categories = sorted({product.category for product in products})
    category_of = np.array([categories.index(product.category) for product in products])
    locales = rng.permutation(sorted({locale for p in products for locale in p.titles}))
    popularity = 1 / np.arange(1, len(locales) + 1)
    tastes = draw_tastes(count, len(categories), rng)
    is_cold = rng.random(count) < COLD_START_SHARE
    return Population(
        ids=[f"shopper-{number:05d}" for number in range(count)],
        age_bands=rng.choice(AGE_BANDS, count).tolist(),
        genders=rng.choice(GENDERS, count, p=GENDER_SHARES).tolist(),
        locales=rng.choice(locales, count, p=popularity / popularity.sum()).tolist(),
        interests=[[categories[i] for i in np.flatnonzero(row)] for row in tastes.category_liking],
        consents=rng.random(count) >= NO_CONSENT_SHARE,
        tastes=tastes,
        clicks=draw_clicks(tastes, bank, category_of[bank.product], is_cold, rng),
    )


def draw_tastes(num_shoppers: int, num_categories: int, rng: np.random.Generator) -> Tastes:
    def axis(num_choices: int) -> tuple[Indices, Vector]:
        order = rng.permuted(np.tile(np.arange(num_choices), (num_shoppers, 1)), axis=1)
        liking = np.zeros((num_shoppers, num_choices), np.float32)
        rows = np.arange(num_shoppers)
        liking[rows, order[:, 0]] = LIKING
        liking[rows, order[:, 1]] = SECOND_LIKING
        return order[:, 0], liking

    palette, palettes = axis(len(PALETTES))
    setting, settings = axis(len(SETTINGS))
    treatment, treatments = axis(len(TREATMENTS))
    ranks = rng.permuted(np.tile(np.arange(num_categories), (num_shoppers, 1)), axis=1)
    num_liked = rng.integers(1, 4, size=(num_shoppers, 1))
    categories = (CATEGORY_LIKING * (ranks < num_liked)).astype(np.float32)
    return Tastes(palette, setting, treatment, palettes, settings, treatments, categories)


def draw_clicks(
    tastes: Tastes,
    bank: CreativeBank,
    category: Indices,
    is_cold: Mask,
    rng: np.random.Generator,
) -> Clicks:
    """Each click is the best liked of a random slate, with noise and a bias to its first places.

    `category` [creatives] is that of each creative's product.
    """
    lengths = 1 + np.floor(MAX_CLICKS * rng.beta(0.9, 2.2, size=len(is_cold))).astype(np.int64)
    lengths = np.where(is_cold, 0, np.minimum(lengths, MAX_CLICKS))
    shopper = np.repeat(np.arange(len(is_cold)), lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    chosen = [
        _choose(tastes, bank, category, shopper[start : start + 65_536], rng)
        for start in range(0, len(shopper), 65_536)
    ]
    creative, position = np.concatenate([np.zeros((2, 0), np.int64), *chosen], axis=1)
    ages = HISTORY_S * rng.random(len(shopper)) ** 1.5
    order = np.lexsort((-ages, shopper))  # from old to new within each shopper
    action = rng.choice(len(ACTIONS), size=len(shopper), p=ACTION_SHARES)
    return Clicks(shopper, creative, position, action, ages[order], starts)


def _choose(
    tastes: Tastes,
    bank: CreativeBank,
    category: Indices,
    shopper: Indices,
    rng: np.random.Generator,
) -> Indices:
    """[2, events]: which creative, at which place of its slate."""
    slate = rng.integers(len(bank), size=(len(shopper), SLATE))
    who = shopper[:, None]
    liking = tastes.palette_liking[who, bank.palette[slate]]
    liking += tastes.setting_liking[who, bank.setting[slate]]
    liking += tastes.treatment_liking[who, bank.treatment[slate]]
    liking += tastes.category_liking[who, category[slate]]
    liking[rng.random(len(shopper)) < NOISE_SHARE] = 0
    liking -= POSITION_BIAS * np.log1p(np.arange(SLATE, dtype=np.float32))
    place = np.argmax(liking + rng.gumbel(size=liking.shape), axis=1)  # a draw by softmax
    return np.stack([slate[np.arange(len(shopper)), place], place])
