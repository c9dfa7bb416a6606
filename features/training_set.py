"""`python -m features.training_set`: what shoppers clicked next, and what was known of them before.

Features are joined as of just before each moment, by Feast, so that no click from then on reaches
them. Who does not consent now is left out, whatever they clicked then.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from diffusion.taste import click_weight
from features.definitions import FINGERPRINT_TAG
from features.moments import PACE, choose_split, find_moments
from features.offline import split_rows, write_part
from features.offline_jobs import offline_job
from features.schema import INSTANT, TEXT, TEXTS, TIMESTAMP, USER_PROFILE, USER_RECENT, VECTOR, View
from features.simulate import SHOP
from features.store import Store, StoreConfig, StoreMissing, default_home, open_store
from features.vector import FingerprintMismatch, ImageTextEncoders, check_fingerprint, fingerprint

CHUNK_ROWS = 16_384  # each chunk reads the whole view again
CREATIVES = "creatives"
ROW = "row"  # carried through Feast's joins, which keep no order

MOMENT = pa.schema(
    [
        (USER_PROFILE.key, TEXT),
        (TIMESTAMP, INSTANT),
        ("split", TEXT),
        ("clicked", TEXTS),
        ("clicked_weights", VECTOR),
        ("weight", pa.float32()),
    ]
)
"""`weight` is how often a moment is to be shown to a model, on average 1."""

FEATURES = {
    "profile": (USER_PROFILE, "embedding"),
    "recent": (USER_RECENT, "recent_embeddings"),
    "recent_weights": (USER_RECENT, "recent_weights"),
}
CREATIVE_COLUMNS = (
    "creative_id",
    "product_id",
    "palette",
    "setting",
    "treatment",
    "seed",
    "embedding",
)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What was written."""

    num_moments: int
    num_with_profile: int
    num_with_recent: int


def build_training_set(
    store: Store,
    encoders: ImageTextEncoders,
    out: Path,
    *,
    chunk_rows: int = CHUNK_ROWS,
    progress: bool = True,
) -> TrainingSet:
    """Writes `out`, and `creatives.parquet` beside it, each whole or not at all.

    Raises FingerprintMismatch where store or creatives were made with other encoders, and
    FileNotFoundError where there are no clicks.
    """
    printed = fingerprint(encoders.width, encoders.digest)
    shop = store.config.home / SHOP
    creatives = pq.read_table(shop / f"{CREATIVES}.parquet")
    check_fingerprint(_read_print(creatives), printed)
    moments = list_moments(pq.read_table(shop / "clicks.parquet"))
    return write_training_set(
        store, encoders, moments, creatives, out, chunk_rows=chunk_rows, progress=progress
    )


def write_training_set(
    store: Store,
    encoders: ImageTextEncoders,
    moments: pa.Table,
    creatives: pa.Table,
    out: Path,
    *,
    chunk_rows: int = CHUNK_ROWS,
    progress: bool = True,
) -> TrainingSet:
    """`moments` (`MOMENT`) of shoppers who consent, with what was known of them just before, and
    `creatives` beside them. Raises FingerprintMismatch."""
    printed = fingerprint(encoders.width, encoders.digest)
    check_fingerprint(store.fingerprint(), printed)
    # What another offline store still has of somebody erased is joined to no moment of theirs.
    moments = store.tombstones.sift(moments, at_any_time=bool(store.config.offline_store))
    moments = moments.filter(_find_consent(store, moments[USER_PROFILE.key]))
    told = {"fingerprint": printed, "encoder_digest": encoders.digest, "width": str(encoders.width)}
    columns = [*MOMENT, *((name, VECTOR) for name in FEATURES)]
    schema = pa.schema(columns, metadata=told)
    written = TrainingSet(len(moments), 0, 0)
    write_part(out.parent, CREATIVES, creatives.select(CREATIVE_COLUMNS))
    unfinished = out.with_name(f".{out.name}.unfinished")
    with (
        pq.ParquetWriter(unfinished, schema) as writer,
        tqdm(total=len(moments), desc="moments", disable=not progress) as bar,
    ):
        for chunk in split_rows(moments, chunk_rows):
            joined = pa.table([*chunk.columns, *_join_features(store, chunk)], schema=schema)
            writer.write_table(joined)
            written = _count(written, joined)
            bar.update(len(chunk))
    os.replace(unfinished, out)
    return written


def list_moments(clicks: pa.Table) -> pa.Table:
    """Shoppers before every `PACE`th of their clicks, and what they then clicked until the next.

    `clicks` has user_id, creative_id, action and event_timestamp, in any order.
    """
    key = USER_PROFILE.key
    events = clicks.select([key, TIMESTAMP, "creative_id", "action"])
    events = events.sort_by([(key, "ascending"), (TIMESTAMP, "ascending")]).to_pylist()
    rows = []
    for user_id, group in groupby(events, itemgetter(key)):
        mine = list(group)
        moments = find_moments(user_id, len(mine))
        rows += [_tell_moment(user_id, mine[first : first + PACE]) for first in moments]
    return pa.Table.from_pylist(rows, schema=MOMENT)


def _tell_moment(user_id: str, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        USER_PROFILE.key: user_id,
        TIMESTAMP: events[0][TIMESTAMP],
        "split": choose_split(user_id),
        "clicked": [event["creative_id"] for event in events],
        "clicked_weights": [click_weight(event["action"], 0.0) for event in events],
        "weight": 1.0,
    }


def _find_consent(store: Store, user_ids: pa.ChunkedArray) -> pa.Array:
    """Which moments are of shoppers who consent now; who is not known does not."""
    known = pc.unique(user_ids)
    now = pa.array([datetime.now(UTC)] * len(known), INSTANT)
    found = _join(store, USER_PROFILE, ["consent"], known, now)["consent"]
    willing = known.filter(pa.array([value is True for value in found]))
    return pc.is_in(user_ids, value_set=willing)


def _join_features(store: Store, moments: pa.Table) -> list[pa.Array]:
    """The `FEATURES` of each moment as of just before it; null where there are none."""
    just_before = pc.subtract(moments[TIMESTAMP], pa.scalar(1, pa.duration("us")))
    found: dict[tuple[str, str], list[Any]] = {}
    for view in (USER_PROFILE, USER_RECENT):
        wanted = [name for of, name in FEATURES.values() if of is view]
        columns = _join(store, view, wanted, moments[view.key], just_before)
        found |= {(view.name, name): column for name, column in columns.items()}
    return [pa.array(found[view.name, name], VECTOR) for view, name in FEATURES.values()]


def _join(
    store: Store, view: View, features: list[str], keys: Any, times: Any
) -> dict[str, list[Any]]:
    """Feast's point-in-time join, in the order of `keys`; None where there is nothing.

    One view at a time: Feast drops an event altogether where a view has rows for it, but none
    within its lifetime.
    """
    folder = store.config.offline_folder(view)
    if not store.config.offline_store and not any(folder.glob("*.parquet")):
        return {name: [None] * len(keys) for name in features}
    asked = pd.DataFrame({view.key: keys.to_pandas(), TIMESTAMP: times.to_pandas()})
    asked[ROW] = np.arange(len(asked))
    with offline_job():
        job = store.feast.get_historical_features(asked, [f"{view.name}:{n}" for n in features])
        found = job.to_df().set_index(ROW).reindex(asked[ROW])
    is_known = {name: found[name].notna() for name in features}
    return {name: [*found[name].where(is_known[name], None)] for name in features}


def _read_print(table: pa.Table) -> str:
    told: dict[bytes, bytes] = table.schema.metadata or {}
    return told.get(FINGERPRINT_TAG.encode(), b"").decode()


def _count(before: TrainingSet, joined: pa.Table) -> TrainingSet:
    num_known = {name: len(joined) - joined[name].null_count for name in ("profile", "recent")}
    return TrainingSet(
        before.num_moments,
        before.num_with_profile + num_known["profile"],
        before.num_with_recent + num_known["recent"],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m features.training_set", description=__doc__)
    parser.add_argument("--home", type=Path, default=default_home(), help="state folder")
    parser.add_argument("--out", type=Path, required=True, help="the parquet file to write")
    parser.add_argument(
        "--checkpoint", type=Path, default=DEFAULT_CHECKPOINT, help="of the encoders"
    )
    options = parser.parse_args(arguments)
    try:
        store = open_store(StoreConfig(home=options.home))
        encoders = Encoders.load(options.checkpoint / "encoders")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        made = build_training_set(store, encoders, options.out)
    except (FingerprintMismatch, StoreMissing, FileNotFoundError) as error:
        print(f"no training set: {error}", file=sys.stderr)
        return 1
    print(
        f"{made.num_moments} moments, {made.num_with_profile} with a profile, "
        f"{made.num_with_recent} with last clicks: {options.out}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
