"""Exported events as a source of features: what somebody was shown last, and did, by any moment.

`unit` is the pseudonym of a shopper or a session. `define_exposures` gives what to apply to a Feast
store, `python -m server export` writes the files.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa

from features.definitions import FEAST_TYPES
from features.quiet_feast import Entity, FeatureView, Field, FileSource, String, ValueType
from features.schema import TEXT, TEXTS, TIMESTAMP, View

_SHOWN = (
    ("exposure_id", TEXT),
    ("product_id", TEXT),
    ("shows", TEXT),
    ("experiment", TEXT),
    ("arm", TEXT),
    ("propensity", pa.float64()),
    ("is_override", pa.bool_()),
)
EXPOSURES = View(
    "exposures",
    entity="unit",
    key="unit",
    columns=(*_SHOWN, ("look", TEXTS), ("model", TEXT), ("strength", pa.float64())),
)
OUTCOMES = View(
    "outcomes",
    entity="unit",
    key="unit",
    columns=(*_SHOWN, ("kind", TEXT), ("value", pa.float64())),
)


def define_exposures(folder: str, lifetime_s: float = 0.0) -> list[Any]:
    """Of an export in `folder`, a path or an fsspec URL; older events are left out, 0: none."""
    unit = Entity(name=EXPOSURES.entity, join_keys=[EXPOSURES.key], value_type=ValueType.STRING)
    views = [_define(view, unit, folder, lifetime_s) for view in (EXPOSURES, OUTCOMES)]
    return [unit, *views]


def _define(view: View, unit: Any, folder: str, lifetime_s: float) -> Any:
    files = FileSource(
        name=f"{view.name}_files", path=f"{folder}/{view.name}", timestamp_field=TIMESTAMP
    )
    return FeatureView(
        name=view.name,
        entities=[unit],
        ttl=timedelta(seconds=lifetime_s),
        schema=[
            Field(name=view.key, dtype=String),
            *(Field(name=name, dtype=FEAST_TYPES[str(kind)]) for name, kind in view.columns),
        ],
        source=files,
        online=False,
    )
