"""Where the columns of a view come from: from one of Feast's views, or from several joined."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from features.decoding import CORRUPT, UNSET, RawRow, is_any_set
from features.definitions import to_key
from features.quiet_feast import Value

NO_ROW: RawRow = (None, None)


class OpenStore(Protocol):
    """Feast and its online store, ours or a shop's."""

    feast: Any
    online: Any

    @property
    def shopper_key(self) -> JoinKey: ...


@dataclass(frozen=True, slots=True)
class JoinKey:
    """`kind` is the field of Feast's values that ids are in."""

    name: str
    kind: str = "string_val"

    def can_be(self, entity_id: str) -> bool:
        """Whether an entity may have that id: a number is written in one way only."""
        if self.kind == "string_val":
            return True
        if not (entity_id.removeprefix("-").isdecimal() and entity_id.isascii()):
            return False
        number, bits = int(entity_id[:21]), 64 if self.kind == "int64_val" else 32
        return str(number) == entity_id and -(2 ** (bits - 1)) <= number < 2 ** (bits - 1)

    def of(self, entity_id: str) -> Any:
        return to_key(self.name, entity_id, self.kind)


@dataclass(frozen=True, slots=True)
class Source:
    """`names` are our columns by theirs, nothing where they are called the same; a single title is
    in `title_locale`."""

    store: OpenStore
    definition: Any
    key: JoinKey
    features: tuple[str, ...]
    names: Mapping[str, str] | None = None
    title_locale: str = ""

    def list_keys(self, ids: Sequence[str]) -> list[Any]:
        """Of those ids that there may be."""
        return [self.key.of(entity_id) for entity_id in ids if self.key.can_be(entity_id)]

    def ask(self, keys: list[Any]) -> tuple[Any, Any, list[Any], list[str]]:
        """What an online store is asked; a fresh list each time, since some append to theirs."""
        return self.store.feast.config, self.definition, keys, [*self.features]

    def translate(self, ids: Sequence[str], rows: Sequence[RawRow]) -> list[RawRow]:
        """A row for each id, with columns named as ours."""
        if self.names is None:
            return list(rows)
        found = iter(rows)
        return [self._rename(next(found)) if self.key.can_be(i) else NO_ROW for i in ids]

    def _rename(self, row: RawRow) -> RawRow:
        time, values = row
        if row is CORRUPT or values is None or self.names is None:
            return row
        named = {self.names[name]: value for name, value in values.items() if name in self.names}
        title = named.pop("title", UNSET).string_val
        if title:
            named["titles"] = Value(string_val=json.dumps({self.title_locale: title}))
        return time, named


def read_row(sources: Sequence[Source], entity_id: str) -> RawRow:
    """One entity's, in this thread."""
    parts = []
    for source in sources:
        keys = source.list_keys([entity_id])
        rows = source.store.online.online_read(*source.ask(keys)) if keys else []
        parts.append(source.translate([entity_id], rows))
    return join(parts, 1)[0]


def join(parts: Sequence[Sequence[RawRow]], num_rows: int) -> Sequence[RawRow]:
    """Rows of the same entities from several sources. The first that has something says when."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return [NO_ROW] * num_rows
    return [_join_row(rows) for rows in zip(*parts, strict=True)]


def _join_row(rows: Sequence[RawRow]) -> RawRow:
    if rows[0] is CORRUPT:
        return CORRUPT
    told: dict[str, Any] = {}
    since: datetime | None = None
    for time, values in rows:
        if time is not None and values and is_any_set(values):
            since = since or time
            told |= values
    return (since, told) if since is not None else NO_ROW
