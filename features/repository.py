"""A shop's own Feast repository, read as a mapping says: its views stand for ours.

Nothing is written to it but what an erasure takes out of the online store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from features.definitions import FINGERPRINT_TAG
from features.mapping import Columns, MappingInvalid, read_mapping
from features.quiet_feast import (
    Array,
    Bool,
    FeastObjectNotFoundException,
    FeatureStore,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
)
from features.schema import TEXTS, USER_PROFILE, VECTOR, VIEWS, View
from features.sources import JoinKey, Source

KEY_TYPES = {String: "string_val", Int64: "int64_val", Int32: "int32_val"}


class Repository:
    """Opened and checked once; `find_sources` looks into the registry's cache again."""

    def __init__(self, path: Path) -> None:
        """Raises MappingInvalid."""
        self.path, self.mapping = path, read_mapping(path)
        try:
            self.feast = FeatureStore(repo_path=str(self.mapping.repository))
            self.online: Any = self.feast._get_provider().online_store
        except Exception as error:  # whatever a registry's or a store's driver raises
            reason = f"can't be opened: {type(error).__name__}: {error}"
            raise MappingInvalid(path, "repository", reason) from error
        self.find_sources()
        self.fingerprint()

    @property
    def service(self) -> str:
        return self.mapping.service

    @property
    def has_products(self) -> bool:
        return self.mapping.product is not None

    @property
    def shopper_key(self) -> JoinKey:
        return self.find_sources()[USER_PROFILE.name][0].key

    def fingerprint(self) -> str:
        """Raises MappingInvalid where nobody says it."""
        tag = self._find_service().tags.get(FINGERPRINT_TAG, "")
        if not (told := self.mapping.fingerprint or tag):
            reason = (
                "is missing, and the feature service has no tag of that name: nothing says which "
                "encoders made the embeddings"
            )
            raise MappingInvalid(self.path, "fingerprint", reason)
        return str(told)

    def find_sources(self) -> Mapping[str, tuple[Source, ...]]:
        """By our view, for those that the mapping is about: none where it leaves one out. Raises
        MappingInvalid, which lists what there is."""
        offered = {
            f"{projection.name}:{feature.name}": feature.dtype
            for projection in self._find_service().feature_view_projections
            for feature in projection.features
        }
        product = self.mapping.product
        return {
            view.name: tuple(self._make_sources(view, columns, offered))
            for view in VIEWS
            if view.entity == USER_PROFILE.entity or product is not None
            for columns in (self.mapping.find(view),)
        }

    def _find_service(self) -> Any:
        name = self.mapping.service
        try:
            return self.feast.get_feature_service(name, allow_cache=True)
        except FeastObjectNotFoundException as error:
            names = [service.name for service in self.feast.list_feature_services()]
            raise MappingInvalid(self.path, "service", _tell_missing(name, names)) from error

    def _make_sources(
        self, view: View, columns: Columns | None, offered: Mapping[str, Any]
    ) -> Iterator[Source]:
        if columns is None:
            return
        entity = "shopper" if view is USER_PROFILE else "product"
        names: dict[str, dict[str, str]] = {}
        for column, reference in columns.references().items():
            field = f"{entity}.{column}"
            if reference not in offered:
                raise MappingInvalid(self.path, field, _tell_missing(reference, offered))
            if offered[reference] not in (wanted := _list_types(view, column)):
                told = f"{reference} is {offered[reference]}, not {' or '.join(map(str, wanted))}"
                raise MappingInvalid(self.path, field, told)
            view_name, _, feature = reference.partition(":")
            names.setdefault(view_name, {})[feature] = column
        locale = getattr(columns, "title_locale", "")
        for view_name, told_names in names.items():
            column = next(iter(told_names.values()))
            definition = self._find_view(f"{entity}.{column}", view_name)
            key = self._find_key(f"{entity}.key", columns.key, definition)
            yield Source(self, definition, key, tuple(told_names), told_names, locale)

    def _find_view(self, field: str, name: str) -> Any:
        for find in (self.feast.get_feature_view, self.feast.get_stream_feature_view):
            with suppress(FeastObjectNotFoundException):
                return find(name, allow_registry_cache=True)
        reason = f"view {name} is computed when it is asked for: it has no rows to be read"
        raise MappingInvalid(self.path, field, reason)

    def _find_key(self, field: str, name: str, definition: Any) -> JoinKey:
        keys = {column.name: column.dtype for column in definition.entity_columns}
        if list(keys) != [name]:
            told = f"view {definition.name} has {_list(keys)}: a row has to be of one {name!r}"
            raise MappingInvalid(self.path, field, told)
        if (kind := KEY_TYPES.get(keys[name])) is None:
            told = f"{name} is {keys[name]}, not {' or '.join(map(str, KEY_TYPES))}"
            raise MappingInvalid(self.path, field, told)
        return JoinKey(name, kind)


def _list_types(view: View, column: str) -> tuple[Any, ...]:
    kind = dict(view.columns).get(column)
    if kind == VECTOR:
        return Array(Float32), Array(Float64)
    if kind == TEXTS:
        return (Array(String),)
    return (Bool,) if column == "consent" else (String,)


def _tell_missing(name: str, names: Any) -> str:
    return f"{name} is not there; there are {_list(names)}"


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
