"""The study: who is shown what, in which arm, and what the judge reads from it.

Arms of one task share products, shoppers and seeds, so that they differ in one thing each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diffusion.evaluation.generation import Model, Order, Pixels, generate
from diffusion.evaluation.judge import Judge, Judgement
from diffusion.fusion import ProductCondition, Vector
from diffusion.looks import AXES

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Paste = Callable[[Pixels, Pixels, str], Pixels]
"""Generated pixels, cut-out packshot and task → the creative that a shopper sees."""

HISTORY_BINS = {
    "1-2": (1, 2),
    "3-5": (3, 5),
    "6-10": (6, 10),
    "11-19": (11, 19),
    "20-49": (20, 49),
    "50+": (50, 10**9),
}
LONG_BINS = ("20-49", "50+")
"""Shoppers of whom enough is known: those that the targets are about."""


class Audience(Protocol):
    """Shoppers whose tastes are known to the study alone: `tastes` [n, 3], `num_clicks` [n]."""

    tastes: Indices
    num_clicks: Indices

    def embed(self, shopper: int, product: int | None) -> Vector:
        """From the shopper's clicks, when shown this product or none."""

    def embed_oracle(self, shopper: int, product: int | None) -> Vector:
        """From many clicks on nothing but what the shopper likes best."""


@dataclass(frozen=True)
class Shop:
    """n products: packshots cut out, and embeddings [n, width] of packshots and titles."""

    ids: Sequence[str]
    is_held_out: Mask
    cutouts: Sequence[Pixels]
    image_embeddings: Vector
    title_embeddings: Vector


@dataclass(frozen=True, slots=True)
class Size:
    """How many pictures in each arm."""

    pairs: int = 192
    restyle_generic: int = 64
    history: int = 48
    dial: int = 48
    steps: int = 96


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server does where a request is silent, and what is tried beside it."""

    num_steps: int = 20
    strength: float = 0.5
    max_shopper_scale: float = 2.0
    strengths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    steps: tuple[int, ...] = (4, 8, 20, 50)


@dataclass(frozen=True, slots=True)
class Trial:
    """One picture: a product for a shopper of whom is known `given`: "clicks", "oracle" (the taste
    itself) or "nothing"."""

    product: int
    shopper: int
    seed: int
    task: str
    given: str
    strength: float
    num_steps: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """An arm's n pictures as the judge read them. `shown` is what a shopper sees, `raw` the same
    before the product's own pixels are pasted back; looks [n, 3], `found` [n] whether the nearest
    of all packshots is the product's own."""

    tastes: Indices
    is_held_out: Mask
    shown_looks: Indices
    shown_found: Mask
    shown_features: NDArray[np.float32]
    raw_looks: Indices
    raw_found: Mask
    raw_features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.tastes)

    def take(self, rows: slice) -> Outcome:
        return Outcome(*(getattr(self, field.name)[rows] for field in fields(self)))

    def hits(self, axis: str) -> Mask:
        column = list(AXES).index(axis)
        return np.asarray(self.shown_looks[:, column] == self.tastes[:, column])


def plan_study(
    audience: Audience, shop: Shop, size: Size, settings: Settings, seed: int = 0
) -> dict[str, list[Trial]]:
    """Arms by name, "task/arm" or "what is varied/its value"."""
    rng = np.random.default_rng(seed)
    bins = {name: find_shoppers(audience, *bounds) for name, bounds in HISTORY_BINS.items()}
    long = [rng.permutation(bins[name])[: size.pairs // 2] for name in LONG_BINS]
    usual = Trial(0, 0, 0, "preserve", "clicks", settings.strength, settings.num_steps)

    def pair(shoppers: Indices, held_out_share: float, like: Trial) -> list[Trial]:
        products = pick_products(shop, len(shoppers), held_out_share, rng)
        rows = enumerate(zip(shoppers.tolist(), products.tolist(), strict=True))
        return [replace(like, product=p, shopper=s, seed=row) for row, (s, p) in rows]

    shoppers = rng.permutation(np.concatenate(long))
    preserve = pair(shoppers, 0.25, usual)
    restyle = pair(shoppers, 0.5, replace(usual, task="restyle"))
    arms = {
        "preserve/personalized": preserve,
        "preserve/oracle": [replace(trial, given="oracle") for trial in preserve],
        "preserve/generic": [replace(trial, given="nothing") for trial in preserve],
        "restyle/personalized": restyle,
        "restyle/oracle": [replace(trial, given="oracle") for trial in restyle],
        "restyle/generic": [replace(t, given="nothing") for t in restyle[: size.restyle_generic]],
    }
    for name, members in bins.items():
        if name not in LONG_BINS:
            arms[f"history/{name}"] = pair(rng.permutation(members)[: size.history], 0.25, usual)
    for strength in settings.strengths:
        if strength not in (0.0, settings.strength):
            some = preserve[: size.dial]
            arms[f"dial/{strength:g}"] = [replace(trial, strength=strength) for trial in some]
    for num_steps in settings.steps:
        if num_steps != settings.num_steps:
            some = preserve[: size.steps]
            arms[f"steps/{num_steps}"] = [replace(trial, num_steps=num_steps) for trial in some]
    return arms


def find_shoppers(audience: Audience, fewest: int, most: int) -> Indices:
    counts = audience.num_clicks
    return np.flatnonzero((counts >= fewest) & (counts <= most))


def pick_products(shop: Shop, count: int, share: float, rng: np.random.Generator) -> Indices:
    """Products in random order, `share` of them held out from training; all before one again."""
    sides: list[Indices] = []
    num_held_out = round(share * count)
    for is_side, wanted in ((shop.is_held_out, num_held_out), (~shop.is_held_out, count)):
        members = np.flatnonzero(is_side)
        wanted = min(wanted, count - sum(len(side) for side in sides))
        rounds = -(-wanted // max(len(members), 1))
        drawn = [rng.permutation(members) for _ in range(rounds)]
        sides.append(np.concatenate([*drawn, members[:0]])[:wanted])
    return rng.permutation(np.concatenate(sides))


@dataclass(frozen=True)
class Reader:
    """Reads pictures: the judge, and what it makes of all packshots [products, 64]."""

    judge: Judge
    packshots: NDArray[np.float32]

    def read(self, images: Pixels, products: Indices) -> tuple[Indices, Mask, NDArray[np.float32]]:
        """Looks [n, 3], whether the product was found [n], features [n, 256]."""
        seen = self.judge.read(images)
        return read_looks(seen), self.find(seen) == products, seen.features.numpy()

    def find(self, seen: Judgement) -> Indices:
        """The product whose packshot is nearest: [n]."""
        return np.asarray(np.argmax(seen.product.numpy() @ self.packshots.T, axis=1))


def read_looks(seen: Judgement) -> Indices:
    return np.stack([seen.of(axis).argmax(dim=1).numpy() for axis in AXES], axis=1)


def run_study(
    model: Model,
    arms: dict[str, list[Trial]],
    shop: Shop,
    audience: Audience,
    settings: Settings,
    reader: Reader,
    paste: Paste,
    label: str | None = None,
) -> dict[str, Outcome]:
    """Makes every picture and has it read. Arms that vary the steps are left out for a model that
    does in as many whatever it is told."""
    if len(model.sigmas(4)) == len(model.sigmas(8)):
        arms = {name: arm for name, arm in arms.items() if not name.startswith("steps/")}
    trials = [trial for arm in arms.values() for trial in arm]
    orders = list(place_orders(model, trials, shop, audience, settings))
    raw = generate(model, orders, label=label)
    with ThreadPoolExecutor() as pool:
        pasted = pool.map(lambda p, t: paste(p, shop.cutouts[t.product], t.task), raw, trials)
        shown = np.stack(list(pasted))
    products = np.array([trial.product for trial in trials])
    whole = Outcome(
        audience.tastes[[trial.shopper for trial in trials]],
        shop.is_held_out[products],
        *reader.read(shown, products),
        *reader.read(raw, products),
    )
    outcomes, start = {}, 0
    for name, arm in arms.items():
        rows = slice(start, start + len(arm))
        outcomes[name] = whole.take(rows)
        start = rows.stop
    return outcomes


def place_orders(
    model: Model, trials: Sequence[Trial], shop: Shop, audience: Audience, settings: Settings
) -> Iterator[Order]:
    prepared: dict[int, ProductCondition] = {}
    for trial in trials:
        p = trial.product
        if p not in prepared:
            vectors = shop.image_embeddings[p], shop.title_embeddings[p]
            prepared[p] = model.prepare_product(shop.cutouts[p], *vectors)
        shopper = taste = None
        if trial.given != "nothing":
            embed = audience.embed if trial.given == "clicks" else audience.embed_oracle
            shopper, taste = embed(trial.shopper, p), embed(trial.shopper, None)
        scale = trial.strength * settings.max_shopper_scale
        yield Order(prepared[p], shopper, trial.task, scale, trial.num_steps, trial.seed, taste)
