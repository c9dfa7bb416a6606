"""What a read answers: a shopper or a product, and how much of it there was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from diffusion.taste import embed_shopper
from features.vector import Vector


class Status(Enum):
    """Of an embedding, at the time it was read."""

    FOUND = "found"
    MISSING = "missing"
    """No row, or a row without an embedding: a shopper without history."""
    STALE = "stale"
    """Older than its view's lifetime."""
    INVALID = "invalid"
    """Of another width than the encoders', or not finite, or made by other encoders."""
    UNAVAILABLE = "unavailable"
    """The store failed, or was late."""


class LastClicks(NamedTuple):
    """Embeddings [NUM_RECENT, width] from old to new, and weights [NUM_RECENT]; 0 for none."""

    embeddings: Vector
    weights: Vector


@dataclass(frozen=True, slots=True)
class Shopper:
    """Who is asking. `profile` [width], long-term taste, is set where `status` is FOUND and they
    consented.

    `consent` is False when it is not known, and then there is nothing but the status. `ages_s` has
    the feature views that had a row.
    """

    status: Status
    profile: Vector | None = None
    last_clicks: LastClicks | None = None
    consent: bool = False
    locale: str = ""
    age_band: str = ""
    gender: str = ""
    interests: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    """Interests that may be sensitive, put aside by whoever looks for them."""
    ages_s: Mapping[str, float] = field(default_factory=dict)

    def embed(self, product: Vector | None = None) -> Vector | None:
        """Who they are when shown a product [width], or none; None where there is no profile."""
        if self.profile is None or self.last_clicks is None:
            return self.profile
        return embed_shopper(self.profile, *self.last_clicks, product)


@dataclass(frozen=True, slots=True)
class Product:
    """What is asked for. `packshot` is a path or an fsspec URL; embeddings are [width]."""

    product_id: str
    titles: Mapping[str, str]
    category: str
    packshot: str
    image_embedding: Vector
    text_embedding: Vector
    ages_s: Mapping[str, float]


class ProductUnknown(LookupError):
    """The store answered, and has no such product."""

    def __init__(self, product_id: str) -> None:
        super().__init__(f"no product {product_id!r} in the feature store")
        self.product_id = product_id


class FeaturesUnavailable(RuntimeError):
    """The product could not be read in time, and was never read before; `is_passing` unless what
    the store has of it is at fault."""

    def __init__(self, product_id: str, reason: str, is_passing: bool = True) -> None:
        super().__init__(f"features of product {product_id!r} are not available: {reason}")
        self.product_id = product_id
        self.reason = reason
        self.is_passing = is_passing


Products = dict[str, Product | ProductUnknown | FeaturesUnavailable]
"""By product id: the product, or the error that reading it alone would raise."""
