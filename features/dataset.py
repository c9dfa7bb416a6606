"""Training pairs from experiments: who liked an image that chance had chosen, and what was known.

Only exposures whose look owes nothing to the shopper teach what shoppers like: generic images of
which an arm's diversity, or the request, chose palette and setting (docs/experiments.md). Each
counts by what was done, and by the inverse of its arm's propensity, as if every arm had been dealt
equally often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from diffusion.looks import AXES
from diffusion.taste import ACTION_WEIGHTS
from features.catalogue import CatalogueProduct
from features.creatives import CreativeBank, embed_creatives
from features.materialize import BEGINNING, read_offline
from features.moments import choose_split
from features.offline import to_vectors
from features.schema import TIMESTAMP, USER_PROFILE
from features.store import Store
from features.training_set import CREATIVE_COLUMNS, MOMENT, TrainingSet, write_training_set
from features.vector import ImageTextEncoders

UNTREATED = "natural"
MAX_WEIGHT = 10.0
"""Times the median: an arm that hardly anybody is dealt says little, however much it would count
(truncated importance sampling, Ionides, 2008)."""

_EXPOSURES = (
    *("exposure_id", TIMESTAMP, "unit", "product_id", "shows"),
    *("propensity", "is_override", "look"),
)
_DISLIKED = ("hide", "return")

Floats = NDArray[np.float64]
NameUnit = Callable[[str], str]
"""A user id → who that is in the log."""


class NothingToLearn(ValueError):
    """Says what is missing."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What was written, and of how many exposures whose look chance chose."""

    num_exposures: int
    num_liked: int
    written: TrainingSet


def build_dataset(
    store: Store,
    encoders: ImageTextEncoders,
    products: Sequence[CatalogueProduct],
    events: Path,
    name_unit: NameUnit,
    out: Path,
    *,
    progress: bool = True,
) -> Dataset:
    """Writes `out`, and `creatives.parquet` beside it, as `features.training_set` does.

    `events` is the folder of an export, with exposures/ and outcomes/. Raises NothingToLearn,
    FingerprintMismatch, OSError.
    """
    shown = read_exposures(events, {product.product_id for product in products})
    if not len(shown):
        raise NothingToLearn(f"{events}: no generic image has a look that an arm or chance chose")
    liked = keep_liked(shown, read_rewards(events))
    liked = name_shoppers(liked, list_shoppers(store), name_unit)
    if not len(liked):
        raise NothingToLearn(f"{events}: no shopper of the feature store liked any of {len(shown)}")
    creatives, names = tell_creatives(liked, products, encoders, progress)
    moments = tell_moments(liked, names)
    written = write_training_set(store, encoders, moments, creatives, out, progress=progress)
    return Dataset(len(shown), len(liked), written)


def read_exposures(events: Path, products: set[str]) -> pa.Table:
    """Those that teach something, with `palette`, `setting` and `treatment`."""
    table = _read(events / "exposures", _EXPOSURES)
    is_fair = pc.and_(pc.equal(table["shows"], "generic"), pc.invert(table["is_override"]))
    is_somebody = pc.greater(pc.utf8_length(table["unit"]), 0)
    is_known = pc.is_in(table["product_id"], pa.array(sorted(products)))
    table = table.filter(pc.and_(pc.and_(is_fair, is_somebody), is_known))
    looks = table["look"].to_pylist()
    for axis, choices in AXES.items():
        found = [next((word for word in look or () if word in choices), None) for look in looks]
        table = table.append_column(axis, pa.array(found, pa.string()))
    treatment = table.schema.get_field_index("treatment")
    filled = pc.fill_null(table["treatment"], UNTREATED)
    table = table.set_column(treatment, "treatment", filled)
    return table.filter(pc.and_(pc.is_valid(table["palette"]), pc.is_valid(table["setting"])))


def read_rewards(events: Path) -> dict[str, float]:
    """What was done with an image, by its exposure: the most that was, and nothing for what was
    hidden or sent back."""
    table = _read(events / "outcomes", ("exposure_id", "kind"))
    rewards: dict[str, float] = {}
    disliked = set()
    for name, kind in zip(table["exposure_id"].to_pylist(), table["kind"].to_pylist(), strict=True):
        if kind in _DISLIKED:
            disliked.add(name)
        elif kind in ACTION_WEIGHTS:
            rewards[name] = max(rewards.get(name, 0.0), ACTION_WEIGHTS[kind])
    return {name: reward for name, reward in rewards.items() if name not in disliked}


def keep_liked(shown: pa.Table, rewards: dict[str, float]) -> pa.Table:
    """With `reward` and `weight`."""
    reward = np.array([rewards.get(name, 0.0) for name in shown["exposure_id"].to_pylist()])
    is_liked = reward > 0
    liked = shown.filter(pa.array(is_liked)).append_column("reward", pa.array(reward[is_liked]))
    weight = weigh(reward[is_liked], liked["propensity"].to_numpy())
    return liked.append_column("weight", pa.array(weight))


def weigh(rewards: Floats, propensities: Floats) -> NDArray[np.float32]:
    """Reward / propensity, on average 1, truncated."""
    if not len(rewards):
        return np.zeros(0, np.float32)
    inverse = 1 / propensities
    weights = rewards * np.minimum(inverse, MAX_WEIGHT * np.median(inverse))
    return np.asarray(weights / weights.mean(), np.float32)


def list_shoppers(store: Store) -> list[str]:
    """All that the feature store has ever known."""
    rows = read_offline(store, USER_PROFILE, BEGINNING, datetime.now(UTC), ("consent",))
    return pc.unique(rows[USER_PROFILE.key]).to_pylist()  # type: ignore[no-any-return]


def name_shoppers(liked: pa.Table, user_ids: Sequence[str], name_unit: NameUnit) -> pa.Table:
    """With `user_id`; sessions, and who is not in the store any more, are left out."""
    known = {name_unit(user_id): user_id for user_id in user_ids}
    found = pa.array([known.get(unit) for unit in liked["unit"].to_pylist()], pa.string())
    named = liked.append_column(USER_PROFILE.key, found)
    return named.filter(pc.is_valid(found))


def tell_creatives(
    liked: pa.Table,
    products: Sequence[CatalogueProduct],
    encoders: ImageTextEncoders,
    progress: bool,
) -> tuple[pa.Table, list[str]]:
    """Each product in each look once, made anew and embedded; and the name of each row's own."""
    axes = tuple(AXES)
    rows = liked.select(["product_id", *axes]).to_pylist()
    names = ["/".join(row.values()) for row in rows]
    distinct = dict(zip(names, rows, strict=True))
    place = {product.product_id: number for number, product in enumerate(products)}
    indices = {
        axis: np.array([AXES[axis].index(row[axis]) for row in distinct.values()]) for axis in axes
    }
    numbers = np.array([place[row["product_id"]] for row in distinct.values()])
    bank = CreativeBank(**indices, product=numbers, seed=np.zeros(len(distinct), np.int64))
    embeddings = embed_creatives(bank, products, encoders, progress=progress)
    told: dict[str, Any] = {
        "creative_id": list(distinct),
        "seed": bank.seed,
        "embedding": to_vectors(embeddings),
    }
    told |= {name: [row[name] for row in distinct.values()] for name in ("product_id", *axes)}
    return pa.table(told).select(CREATIVE_COLUMNS), names


def tell_moments(liked: pa.Table, creatives: Sequence[str]) -> pa.Table:
    """`MOMENT`: the shopper at the time of the exposure, and the one image that was liked."""
    user_ids = liked[USER_PROFILE.key].to_pylist()
    rewards = liked["reward"].to_pylist()
    columns = {
        USER_PROFILE.key: user_ids,
        TIMESTAMP: liked[TIMESTAMP],
        "split": [choose_split(user_id) for user_id in user_ids],
        "clicked": [[name] for name in creatives],
        "clicked_weights": [[reward] for reward in rewards],
        "weight": liked["weight"],
    }
    return pa.table(columns, schema=MOMENT)


def _read(folder: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a folder of parquet. Raises NothingToLearn where there is none."""
    if not any(folder.glob("*.parquet")):
        raise NothingToLearn(f"{folder}: there are no events")
    return ds.dataset(folder, format="parquet").to_table(columns=list(columns))
