"""What the feature store holds, told once, without Feast: views, columns, widths.

Feast definitions, parquet files and the fingerprint are all made from these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from diffusion.taste import NUM_RECENT

SERVICE = "personalization_v1"
TIMESTAMP = "event_timestamp"

TEXT = pa.string()
TEXTS = pa.list_(pa.string())
VECTOR = pa.list_(pa.float32())
INSTANT = pa.timestamp("us", "UTC")

WIDTH = None  # in a shape: as many numbers as the encoders are wide


@dataclass(frozen=True, slots=True)
class View:
    """One feature view: features of one entity that change together.

    `shapes` are those of vectors that are more, or less, than one embedding; stored flat.
    """

    name: str
    entity: str
    key: str
    columns: tuple[tuple[str, pa.DataType], ...]
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict, hash=False)

    @property
    def features(self) -> list[str]:
        """Names in order; a fresh list each time, since some online stores append to theirs."""
        return [name for name, _ in self.columns]

    @property
    def vectors(self) -> list[str]:
        return [name for name, kind in self.columns if kind == VECTOR]

    def length(self, name: str, width: int) -> int:
        """How many numbers a vector is long where the encoders are `width` wide."""
        return math.prod(width if n is WIDTH else n for n in self.shapes.get(name, (WIDTH,)))

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

# The last clicks themselves, from old to new, and what each weighs at the time of the row; zeros
# where there are fewer. How much each says is known only beside a product.
USER_RECENT = View(
    "user_recent",
    entity="user",
    key="user_id",
    columns=(("recent_embeddings", VECTOR), ("recent_weights", VECTOR)),
    shapes={"recent_embeddings": (NUM_RECENT, WIDTH), "recent_weights": (NUM_RECENT,)},
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
