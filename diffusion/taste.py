"""A shopper's embedding from what they clicked: one function for jobs, streams and training.

Creative embeddings are centred on the population, so that shrinking a short history towards the
population is shrinking it towards zero, and a vector's length says how sure it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ACTION_WEIGHTS = {"view": 0.25, "click": 1.0, "cart": 2.0, "purchase": 3.0}
HALF_LIFE_S = 30 * 86_400.0
PRIOR_CLICKS = 2.0
RECENT_SHARE = 0.3

Vector = NDArray[np.float32]


def click_weight(action: str, age_s: float) -> float:
    """Weight of one event: what was done, halved for every 30 days since."""
    return float(ACTION_WEIGHTS[action] * 0.5 ** (max(age_s, 0.0) / HALF_LIFE_S))


def pool_clicks(embeddings: Vector, weights: Vector, prior_clicks: float = PRIOR_CLICKS) -> Vector:
    """[n, width], [n] → [width]: n/(n+k) of the weighted mean, the rest the population's zero."""
    total = np.float32(weights.sum() + prior_clicks)
    return np.asarray(weights @ embeddings / total, np.float32)


def blend(profile: Vector, recent: Vector | None) -> Vector:
    """Long-term taste, moved by `RECENT_SHARE` towards the last clicks where there are any."""
    if recent is None:
        return profile
    return (profile + RECENT_SHARE * (recent - profile)).astype(np.float32)
