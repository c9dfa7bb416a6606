"""What the store answers is scripted, and what is asked of the pipeline is small."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from features.records import (
    FeaturesUnavailable,
    Product,
    Products,
    ProductUnknown,
    Shopper,
    Status,
)
from server.core import DeadlinePolicy, ImageRequest, OutputSpec

WORLD = Path("features/world")
WIDTH = 128
SMALL = OutputSpec(longest_side=64)


class ScriptedReader:
    """Answers what the test says, as features/reader.py would."""

    service, fingerprint = "personalization_v1", "0123456789abcdef"

    def __init__(self) -> None:
        self.shopper = Shopper(Status.FOUND, taste(1), consent=True)
        self.users: list[str] = []
        self.packshot = str(WORLD / "packshots" / "backpack.webp")

    async def read(
        self, user_id: str | None, product_ids: Sequence[str], *, timeout_s: float
    ) -> tuple[Shopper | None, Products]:
        self.users += [user_id] if user_id else []
        found = {product_id: self.read_product(product_id) for product_id in product_ids}
        return self.shopper if user_id else None, found

    def read_product(self, product_id: str) -> Product | ProductUnknown | FeaturesUnavailable:
        if product_id == "unknown":
            return ProductUnknown(product_id)
        if product_id == "unavailable":
            return FeaturesUnavailable(product_id, "timeout")
        titles = {"en": "backpack", "de": "Rucksack"}
        own = taste(sum(product_id.encode()))
        return Product(product_id, titles, "bag", self.packshot, own, taste(9), {})


def taste(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32) * 0.08


def ask(**changes) -> ImageRequest:
    return replace(ImageRequest("backpack", user_id="u", steps=2, output=SMALL), **changes)


def hurry(left_s=0.0, **changes) -> ImageRequest:
    """In time at any price, so many seconds from now."""
    deadline_s = time.monotonic() + left_s
    return ask(deadline_s=deadline_s, deadline_policy=DeadlinePolicy.DEGRADE, **changes)
