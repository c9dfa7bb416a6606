"""What shoppers did → their embeddings, as rows of the feature store. No row knows its own future:
a profile is of the clicks before its time, the last clicks' row is of the moment of the last one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diffusion.taste import click_weight, pool_clicks
from features.offline import to_vectors
from features.schema import TIMESTAMP, USER_PROFILE, USER_RECENT
from features.shoppers import ACTIONS, DAY_S, Clicks, Indices, Population
from features.vector import Vector

SNAPSHOT_AGES_S = (42 * DAY_S, 28 * DAY_S, 14 * DAY_S, 0.0)
NUM_RECENT = 8


def pool_history(embeddings: Vector, actions: Indices, ages_s: NDArray[np.float64]) -> Vector:
    """A shopper's embedding [width] of what they did: [n, width], [n] actions, [n] seconds ago."""
    pairs = zip(actions, ages_s, strict=True)
    weights = np.array([click_weight(ACTIONS[a], float(s)) for a, s in pairs], np.float32)
    return pool_clicks(embeddings, weights)


def make_profiles(population: Population, embeddings: Vector, now: datetime) -> pa.Table:
    """`user_profile` for each shopper at each snapshot; `embeddings` [creatives, width]."""
    return pa.concat_tables(
        _make_snapshot(population, embeddings, now, snapshot_s) for snapshot_s in SNAPSHOT_AGES_S
    )


def make_recents(clicks: Clicks, ids: list[str], embeddings: Vector, now: datetime) -> pa.Table:
    """`user_recent` as it stood at each snapshot: its event is the last click before it."""
    ends = sorted(
        {
            (shopper, before[-1])
            for snapshot_s in SNAPSHOT_AGES_S
            for shopper in range(len(ids))
            if len(before := _find_before(clicks, shopper, snapshot_s))
        }
    )
    pooled = [_pool_recent(clicks, shopper, end, embeddings) for shopper, end in ends]
    columns = {
        USER_RECENT.key: [ids[shopper] for shopper, _ in ends],
        TIMESTAMP: [now - timedelta(seconds=float(clicks.age_s[end])) for _, end in ends],
        "recent_embedding": to_vectors(_stack([vector for vector, _ in pooled], embeddings)),
        "num_clicks": [count for _, count in pooled],
    }
    return pa.table(columns, schema=USER_RECENT.arrow)


def _make_snapshot(
    population: Population, embeddings: Vector, now: datetime, snapshot_s: float
) -> pa.Table:
    clicks = population.clicks
    pooled = np.zeros((len(population), embeddings.shape[1]), np.float32)
    is_known = np.zeros(len(population), np.bool_)
    for shopper in range(len(population)):
        events = _find_before(clicks, shopper, snapshot_s)
        if len(events):
            is_known[shopper] = True
            pooled[shopper] = pool_history(
                embeddings[clicks.creative[events]],
                clicks.action[events],
                clicks.age_s[events] - snapshot_s,
            )
    columns = {
        USER_PROFILE.key: population.ids,
        TIMESTAMP: [now - timedelta(seconds=snapshot_s)] * len(population),
        "embedding": to_vectors(pooled, is_known),
        "age_band": population.age_bands,
        "gender": population.genders,
        "locale": population.locales,
        "interests": population.interests,
        "consent": population.consents,
    }
    return pa.table(columns, schema=USER_PROFILE.arrow)


def _find_before(clicks: Clicks, shopper: int, snapshot_s: float) -> Indices:
    """A shopper's events before a snapshot, from old to new."""
    mine = clicks.of(shopper)
    events: Indices = mine.start + np.flatnonzero(clicks.age_s[mine] > snapshot_s)
    return events


def _pool_recent(clicks: Clicks, shopper: int, end: int, embeddings: Vector) -> tuple[Vector, int]:
    events = np.arange(max(clicks.of(shopper).start, end + 1 - NUM_RECENT), end + 1)
    ages_s = clicks.age_s[events] - clicks.age_s[end]
    pooled = pool_history(embeddings[clicks.creative[events]], clicks.action[events], ages_s)
    return pooled, len(events)


def _stack(vectors: list[Vector], like: Vector) -> Vector:
    return np.stack(vectors) if vectors else np.zeros((0, like.shape[1]), np.float32)
