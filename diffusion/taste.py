"""A shopper's embedding from what they clicked: one function for jobs, streams and training.

Creative embeddings are centred on the population, so that shrinking a short history towards the
population is shrinking it towards zero, and a vector's length says how sure it is.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ACTION_WEIGHTS = {"view": 0.25, "click": 1.0, "cart": 2.0, "purchase": 3.0}
HALF_LIFE_S = 30 * 86_400.0
PRIOR_CLICKS = 2.0
NUM_RECENT = 8
"""So many of the last clicks are kept one by one, for products that nobody knows yet."""
RECENT_SHARE = 0.3
SIMILARITY = 1.0
"""A click on what is just like the product counts e times as much, on its opposite e times less."""

STORED_RECIPE = (ACTION_WEIGHTS, HALF_LIFE_S, PRIOR_CLICKS, NUM_RECENT)
"""What stored embeddings and weights were computed with; part of the store's fingerprint."""

Vector = NDArray[np.float32]
Seconds = TypeVar("Seconds", float, NDArray[np.float64])


def decay(age_s: Seconds) -> Seconds:
    """Halved for every 30 days of age; what comes from the future is from now."""
    return 0.5 ** (np.maximum(age_s, 0.0) / HALF_LIFE_S)  # type: ignore[no-any-return]


def click_weight(action: str, age_s: float) -> float:
    """Weight of one event: what was done, by how long ago. KeyError for an unknown action."""
    return float(ACTION_WEIGHTS[action] * decay(age_s))


def pool_clicks(embeddings: Vector, weights: Vector, prior_clicks: float = PRIOR_CLICKS) -> Vector:
    """[..., n, width], [..., n] → [..., width]: n/(n+k) of the weighted mean, the rest the
    population's zero."""
    # Added up click by click, so that a row is the same to the last bit whatever its batch.
    total = weights.sum(axis=-1, keepdims=True) + np.float32(prior_clicks)
    return np.asarray((weights[..., None] * embeddings).sum(axis=-2) / total, np.float32)


def weigh_by_similarity(recent: Vector, weights: Vector, product: Vector) -> Vector:
    """Weights [..., n] of clicks [..., n, width], turned towards those like `product` [..., width].

    A uniform mean over a history drags in what has nothing to do with the item at hand (RAGAR,
    arXiv 2505.01657). To a zero vector nothing is like, and the weights stay as they are.
    """
    products = (recent * product[..., None, :]).sum(axis=-1)
    lengths = np.linalg.norm(recent, axis=-1) * np.linalg.norm(product, axis=-1)[..., None]
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.asarray(weights * np.exp(SIMILARITY * cosines), np.float32)


def embed_shopper(
    profile: Vector, recent: Vector, weights: Vector, product: Vector | None = None
) -> Vector:
    """Who a shopper is when shown a product, or none: [..., width], for any leading dimensions.

    `profile` [..., width] is long-term taste, zero where there is none; `recent` [..., n, width]
    and `weights` [..., n] are the last clicks, weight 0 where there are fewer; `product`
    [..., width] is an image embedding. The last clicks are weighed by action, recency and
    similarity to the product, shrunk towards the population, and move the profile by
    `RECENT_SHARE`; without any it stays as it is.
    """
    weighed = weights if product is None else weigh_by_similarity(recent, weights, product)
    pooled = pool_clicks(recent, weighed)
    has_clicked = weights.sum(axis=-1, keepdims=True) > 0
    moved = profile + np.float32(RECENT_SHARE) * (pooled - profile)
    return np.asarray(np.where(has_clicked, moved, profile), np.float32)
