"""The schema as Feast objects: entities, views, the push source and the service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from features.quiet_feast import (
    Array,
    Bool,
    Entity,
    EntityKey,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Float64,
    Int64,
    PushSource,
    String,
    Value,
    ValueType,
)
from features.schema import SERVICE, TIMESTAMP, USER_RECENT, VIEWS, View

DAY_S = 86_400.0
PUSH_SOURCE = "recent_clicks"
FINGERPRINT_TAG = "fingerprint"

FEAST_TYPES = {
    "string": String,
    "bool": Bool,
    "int64": Int64,
    "double": Float64,
    "list<item: string>": Array(String),
    "list<item: float>": Array(Float32),
}


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How old a row may be when it is read, in seconds; 0 means any age."""

    user_profile_s: float = 30 * DAY_S
    user_recent_s: float = DAY_S
    product_features_s: float = 0.0

    def of(self, view: View) -> float:
        return float(getattr(self, f"{view.name}_s"))


def define(lifetimes: Lifetimes, fingerprint: str) -> list[Any]:
    """Everything to apply; files are named relative to the store's folder."""
    entities = {
        view.entity: Entity(name=view.entity, join_keys=[view.key], value_type=ValueType.STRING)
        for view in VIEWS
    }
    views = [_define_view(view, entities[view.entity], lifetimes.of(view)) for view in VIEWS]
    service = FeatureService(name=SERVICE, features=views, tags={FINGERPRINT_TAG: fingerprint})
    return [*entities.values(), *views, service]


def offline_folder(view: View) -> str:
    return f"offline/{view.name}"


def to_key(name: str, entity_id: str, kind: str = "string_val") -> Any:
    """`kind` is the field of Feast's values that ids are in: text, or whole numbers."""
    value = Value()
    setattr(value, kind, entity_id if kind == "string_val" else int(entity_id))
    return EntityKey(join_keys=[name], entity_values=[value])


def _define_view(view: View, entity: Any, lifetime_s: float) -> Any:
    files = FileSource(
        name=f"{view.name}_files", path=offline_folder(view), timestamp_field=TIMESTAMP
    )
    is_streamed = view is USER_RECENT
    return FeatureView(
        name=view.name,
        entities=[entity],
        ttl=timedelta(seconds=lifetime_s),
        schema=[
            Field(name=view.key, dtype=String),
            *(Field(name=name, dtype=FEAST_TYPES[str(kind)]) for name, kind in view.columns),
        ],
        source=PushSource(name=PUSH_SOURCE, batch_source=files) if is_streamed else files,
    )
