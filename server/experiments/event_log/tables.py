"""The tables of events, in SQLite and PostgreSQL. A change here needs a revision in `migrations`.

Only promises have an index: that an event_id, and an exposure_id, is there once, and that a shopper
is forgotten when they ask for it. Other rows are found by `key`, which grows in the order of
arrival. So what comes in goes to the end of the tables and, where ids begin with the time as those
of UUID 7 do, of the indexes of ids; of random ids each takes a page that nothing else is written
to, as each shopper does.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData()

_KEY = BigInteger().with_variant(Integer, "sqlite")


def _has(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _key() -> Column[int]:
    return Column("key", _KEY, Identity(), primary_key=True)


exposures = Table(
    "etalage_exposures",
    metadata,
    _key(),
    _has("event_id", Text()),
    _has("time_s", Double()),
    _has("received_s", Double()),
    # From here on as in server.experiments.events.Exposure.
    Column("exposure_id", Text(), nullable=False, unique=True),
    _has("minted_s", Double()),
    _has("unit", Text()),
    _has("shows", Text()),
    _has("product_id", Text()),
    _has("seed", BigInteger()),  # less 2^64 where it is 2^63 or more
    _has("experiment", Text()),
    _has("arm", Text()),
    _has("propensity", Double()),
    _has("is_override", Boolean()),
    _has("is_anonymous", Boolean()),
    _has("rank", Integer()),
    _has("locale", Text()),
    _has("is_known", Boolean()),
    _has("interests", JSON()),
    _has("look", JSON()),
    _has("reason", Text()),
    _has("source", Text()),
    _has("degradation", Text()),
    _has("model", Text()),
    _has("model_digest", Text()),
    _has("mode", Text()),
    _has("strength", Double()),
    _has("steps", Integer()),
    _has("feature_fingerprint", Text()),
    _has("feature_ages_s", JSON()),  # a list of {"view", "age_s"}
    _has("image_key", Text()),
    _has("latency_s", Double()),
    _has("context", JSON()),
    Index("etalage_exposures_by_unit", "unit"),
    sqlite_autoincrement=True,  # keys are never used again: exports go on behind the last one
)

outcomes = Table(
    "etalage_outcomes",
    metadata,
    _key(),
    _has("event_id", Text()),
    _has("exposure_id", Text()),
    _has("kind", Text()),
    _has("time_s", Double()),
    _has("value", Double()),
    _has("received_s", Double()),
    # What most questions ask of the exposure, so that they need no join.
    _has("minted_s", Double()),
    _has("unit", Text()),
    _has("shows", Text()),
    _has("product_id", Text()),
    _has("experiment", Text()),
    _has("arm", Text()),
    _has("propensity", Double()),
    _has("is_override", Boolean()),
    _has("is_anonymous", Boolean()),
    Index("etalage_outcomes_by_unit", "unit"),
    sqlite_autoincrement=True,
)

event_ids = Table(
    "etalage_event_ids",
    metadata,
    Column("event_id", LargeBinary(), primary_key=True),  # UTF-8, which no locale sorts
    sqlite_with_rowid=False,
)

sticky_buckets = Table(
    "etalage_sticky_buckets",
    metadata,
    Column("unit", Text(), primary_key=True),
    Column("slot", Text(), primary_key=True),
    _has("arm", Text()),
    _has("propensity", Double()),
)
