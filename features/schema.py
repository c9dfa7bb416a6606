"""What the feature store holds, told once, without Feast: views, columns, widths.

Feast definitions, parquet files and the fingerprint are all made from these.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SERVICE = "personalization_v1"
TIMESTAMP = "event_timestamp"

TEXT = pa.string()
TEXTS = pa.list_(pa.string())
VECTOR = pa.list_(pa.float32())
INSTANT = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class View:
    """One feature view: features of one entity that change together."""

    name: str
    entity: str
    key: str
    columns: tuple[tuple[str, pa.DataType], ...]

    @property
    def features(self) -> list[str]:
        """Names in order; a fresh list each time, since some online stores append to theirs."""
        return [name for name, _ in self.columns]

    @property
    def vectors(self) -> list[str]:
        return [name for name, kind in self.columns if kind == VECTOR]

    @property
    def arrow(self) -> pa.Schema:
        """Of its offline files."""
        return pa.schema([(self.key, TEXT), (TIMESTAMP, INSTANT), *self.columns])


USER_PROFILE = View(
    "user_profile",
    entity="user",
    key="user_id",
    columns=(
        ("embedding", VECTOR),
        ("age_band", TEXT),
        ("gender", TEXT),
        ("locale", TEXT),
        ("interests", TEXTS),
        ("consent", pa.bool_()),
    ),
)

# Not called "embedding" as well: Feast refuses a service with two features of one name.
USER_RECENT = View(
    "user_recent",
    entity="user",
    key="user_id",
    columns=(("recent_embedding", VECTOR), ("num_clicks", pa.int64())),
)

PRODUCT_FEATURES = View(
    "product_features",
    entity="product",
    key="product_id",
    columns=(
        ("image_embedding", VECTOR),
        ("text_embedding", VECTOR),
        ("category", TEXT),
        ("titles", TEXT),  # a JSON object: locale to title
        ("packshot", TEXT),  # a path or an fsspec URL
    ),
)

VIEWS = (USER_PROFILE, USER_RECENT, PRODUCT_FEATURES)
