"""What shoppers did → their embeddings, as rows of the feature store. No row knows its own future:
a profile is of the clicks before its time, the last clicks' row is of the moment of the last one.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diffusion.taste import NUM_RECENT, click_weight, decay, pool_clicks
from features.moments import find_moments
from features.offline import to_vectors
from features.recent_clicks import keep_last, tell_recents
from features.schema import INSTANT, TIMESTAMP, USER_PROFILE
from features.shoppers import ACTIONS, DAY_S, Clicks, Indices, Population
from features.vector import Vector

# Once a week, as a shop's nightly job keeps them for training; none is older than its lifetime at
# any moment of a history.
SNAPSHOT_AGES_S = tuple(float(days * DAY_S) for days in range(91, -1, -7))

_ACTION_WEIGHTS = np.array([click_weight(action, 0.0) for action in ACTIONS])


def weigh(actions: Indices, ages_s: NDArray[np.float64]) -> Vector:
    """`click_weight` of many: [n] actions, [n] seconds ago."""
    return np.asarray(_ACTION_WEIGHTS[actions] * decay(ages_s), np.float32)


def make_profiles(population: Population, embeddings: Vector, now: datetime) -> pa.Table:
    """`user_profile` for each shopper at each snapshot; `embeddings` [creatives, width]."""
    return pa.concat_tables(
        _make_snapshot(population, embeddings, now, snapshot_s) for snapshot_s in SNAPSHOT_AGES_S
    )


def make_recents(clicks: Clicks, ids: list[str], embeddings: Vector, now: datetime) -> pa.Table:
    """`user_recent` as it stood before each moment, and after the last click of all."""
    ends = [
        (shopper, clicks.of(shopper).start + last)
        for shopper, user_id in enumerate(ids)
        for last in _find_last_clicks(user_id, len(clicks.age_s[clicks.of(shopper)]))
    ]
    recent = np.zeros((len(ends), NUM_RECENT, embeddings.shape[1]), np.float32)
    weights = np.zeros((len(ends), NUM_RECENT), np.float32)
    for row, (shopper, end) in enumerate(ends):
        events = slice(max(clicks.of(shopper).start, end + 1 - NUM_RECENT), end + 1)
        ages_s = clicks.age_s[events] - clicks.age_s[end]
        weighed = weigh(clicks.action[events], ages_s)
        recent[row], weights[row] = keep_last(embeddings[clicks.creative[events]], weighed)
    times = to_times(now, clicks.age_s[[end for _, end in ends]])
    return tell_recents([ids[shopper] for shopper, _ in ends], times, recent, weights)


def to_times(now: datetime, ages_s: NDArray[np.float64]) -> pa.Array:
    """Instants [n], so many seconds before `now`."""
    base = np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")
    return pa.array(base - (1e6 * ages_s).round().astype("timedelta64[us]"), INSTANT)


def _find_last_clicks(user_id: str, num_clicks: int) -> list[int]:
    before_moments = {moment - 1 for moment in find_moments(user_id, num_clicks) if moment > 0}
    return sorted(before_moments | ({num_clicks - 1} if num_clicks else set()))


def _make_snapshot(
    population: Population, embeddings: Vector, now: datetime, snapshot_s: float
) -> pa.Table:
    clicks = population.clicks
    pooled = np.zeros((len(population), embeddings.shape[1]), np.float32)
    is_known = np.zeros(len(population), np.bool_)
    for shopper in range(len(population)):
        mine = clicks.of(shopper)
        count = np.count_nonzero(clicks.age_s[mine] > snapshot_s)  # from old to new
        events = slice(mine.start, mine.start + count)
        weights = weigh(clicks.action[events], clicks.age_s[events] - snapshot_s)
        pooled[shopper] = pool_clicks(embeddings[clicks.creative[events]], weights)
        is_known[shopper] = count > 0
    columns = {
        USER_PROFILE.key: population.ids,
        TIMESTAMP: to_times(now, np.full(len(population), snapshot_s)),
        "embedding": to_vectors(pooled, is_known),
        "age_band": population.age_bands,
        "gender": population.genders,
        "locale": population.locales,
        "interests": population.interests,
        "consent": population.consents,
    }
    return pa.table(columns, schema=USER_PROFILE.arrow)
