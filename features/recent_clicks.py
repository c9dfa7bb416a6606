"""A shopper's last clicks as rows of the feature store: of a history, or moved on by a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from diffusion.taste import NUM_RECENT, click_weight, decay
from features.offline import to_vectors
from features.records import LastClicks
from features.schema import INSTANT, TIMESTAMP, USER_RECENT
from features.vector import Vector


@dataclass(frozen=True, slots=True)
class Click:
    """One event of a stream; `embedding` [width] is that of the creative."""

    action: str
    time: datetime
    embedding: Vector


class RecentRow(NamedTuple):
    """A shopper's last clicks as of the last of them."""

    time: datetime
    clicks: LastClicks


def add_clicks(before: RecentRow | None, new: Sequence[Click]) -> RecentRow:
    """The row after new clicks, at least one: those before are older by now, the oldest go.

    What the offline job makes of the whole history, without knowing it.
    """
    new = sorted(new, key=lambda click: click.time)
    time = new[-1].time if before is None else max(before.time, new[-1].time)
    ages_s = ((time - click.time).total_seconds() for click in new)
    pairs = zip(new, ages_s, strict=True)
    weights = np.array([click_weight(click.action, age_s) for click, age_s in pairs], np.float32)
    embeddings = np.stack([click.embedding for click in new])
    if before is not None:
        is_click = before.clicks.weights > 0
        faded = before.clicks.weights * decay((time - before.time).total_seconds())
        weights = np.concatenate([faded[is_click], weights])
        embeddings = np.concatenate([before.clicks.embeddings[is_click], embeddings])
    return RecentRow(time, keep_last(embeddings, weights))


def keep_last(embeddings: Vector, weights: Vector) -> LastClicks:
    """The last `NUM_RECENT` of clicks [n, width], [n], from old to new; zeros where fewer."""
    count = min(len(weights), NUM_RECENT)
    kept = np.zeros((NUM_RECENT, embeddings.shape[1]), np.float32)
    kept[:count] = embeddings[-NUM_RECENT:]
    kept_weights = np.zeros(NUM_RECENT, np.float32)
    kept_weights[:count] = weights[-NUM_RECENT:]
    return LastClicks(kept, kept_weights)


def tell_recents(
    user_ids: Sequence[str], times: pa.Array, embeddings: Vector, weights: Vector
) -> pa.Table:
    """Rows of `user_recent`: [n, NUM_RECENT, width], [n, NUM_RECENT]."""
    num_rows, num_clicks, width = embeddings.shape
    columns = {
        USER_RECENT.key: user_ids,
        TIMESTAMP: times,
        "recent_embeddings": to_vectors(embeddings.reshape(num_rows, num_clicks * width)),
        "recent_weights": to_vectors(weights),
    }
    return pa.table(columns, schema=USER_RECENT.arrow)


def tell_recent(user_id: str, row: RecentRow) -> pa.Table:
    """One shopper's row, as `features.materialize.push` takes it."""
    embeddings, weights = row.clicks
    return tell_recents([user_id], pa.array([row.time], INSTANT), embeddings[None], weights[None])
