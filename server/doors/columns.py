"""A row of a table → a GenerateImageRequest: its fields as flat columns, or nested as in its JSON.

Scalars are columns by their own names, also those of `guidance`, `output`, `experiment` and
`inline_product`; those of `scene`, `localization` and `caption` begin with that name. The columns
are read off the message itself, so that a new field is a new column.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from etalage.v1 import images_pb2 as pb
from server.doors.cells import Reader, choose_reader, fill, read_object
from server.errors import Violation

_PLAIN = ("guidance", "output", "experiment", "inline_product")
_WHOLE = ("layout",)
_RENAMED = {"localization_time": "localization_day", "experiment": "experiment_key"}


@dataclass(frozen=True, slots=True)
class Column:
    """Where a cell goes: fields from the request down, and what reads it."""

    path: tuple[FieldDescriptor, ...]
    read: Reader

    @property
    def field(self) -> FieldDescriptor:
        return self.path[-1]

    @property
    def is_picture(self) -> bool:
        return bool(self.field.type == FieldDescriptor.TYPE_BYTES)

    @property
    def place(self) -> str:
        """As violations name it."""
        return ".".join(field.name for field in self.path)


@dataclass(frozen=True, slots=True)
class ReadRow:
    """`references` are the fields of the inline product in which there is not a picture, but, in
    UTF-8, where it lies."""

    request: pb.GenerateImageRequest
    references: tuple[str, ...]
    violations: tuple[Violation, ...]


def _find_columns() -> Iterator[tuple[str, Column]]:
    fields: Iterable[Any] = pb.GenerateImageRequest.DESCRIPTOR.fields
    for field in fields:
        if field.message_type is None or field.name in _WHOLE:
            yield field.name, Column((field,), choose_reader(field))
            continue
        for inner in field.message_type.fields:
            name = inner.name if field.name in _PLAIN else f"{field.name}_{inner.name}"
            yield _RENAMED.get(name, name), Column((field, inner), choose_reader(inner))


COLUMNS = dict(_find_columns())
_NESTED = {field.name: field for field in pb.GenerateImageRequest.DESCRIPTOR.fields}
_JSON_NAMES = {field.json_name: field.name for field in _NESTED.values()}
_NAMES = {column.place: name for name, column in COLUMNS.items()}


def read_row(cells: Mapping[str, Any]) -> ReadRow:
    """Empty cells are unset. Whether values may be what they are is not looked at here."""
    request = pb.GenerateImageRequest()
    references: list[str] = []
    violations: list[Violation] = []
    forms: set[str] = set()
    seen: set[str] = set()
    for told, cell in cells.items():
        if cell is None or cell == "":
            continue
        name = told if told in COLUMNS else _JSON_NAMES.get(told, told)
        try:
            if name in seen:
                raise ValueError("is there twice, by two names")
            seen.add(name)
            if (column := COLUMNS.get(name)) is not None:
                forms.add(column.path[0].name)
                references += _put(request, column, cell)
            elif name in _NESTED:
                forms.add(name)
                fill(getattr(request, name), read_object(cell))
            else:
                raise ValueError(f"is no column of a request{_suggest(name)}")
        except ValueError as error:
            violations.append(Violation(told, str(error)))
        except RecursionError:
            violations.append(Violation(told, "is nested too deeply"))
    if {"product_id", "inline_product"} <= forms:
        text = "has both forms; exactly one of product_id and an inline product is required"
        violations.append(Violation("product", text))
    return ReadRow(request, tuple(references), tuple(violations))


def name_column(field: str) -> str:
    """The column for a field as violations name it, e.g. "scene.avoided_palettes[2]"."""
    place, bracket, index = field.partition("[")
    return f"{_NAMES[place]}{bracket}{index}" if place in _NAMES else field


def _put(request: pb.GenerateImageRequest, column: Column, cell: object) -> list[str]:
    """The picture that is yet to be read, if any. Raises ValueError."""
    message: Message = request
    for field in column.path[:-1]:
        message = getattr(message, field.name)
    name = column.field.name
    if column.is_picture:
        if not isinstance(cell, bytes | str):
            raise ValueError("is neither a picture nor where one lies")
        setattr(message, name, cell if isinstance(cell, bytes) else cell.encode())
        return [name] if isinstance(cell, str) else []
    value = column.read(cell)
    if isinstance(value, Message):
        getattr(message, name).CopyFrom(value)
    elif column.field.message_type is not None:
        _put_mapping(message, column.field, value)
    elif column.field.is_repeated:
        getattr(message, name).extend(value)
    else:
        _put_scalar(message, name, value)
    return []


def _put_mapping(message: Message, field: FieldDescriptor, value: Mapping[str, Any]) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name).update(value)
    else:
        fill(getattr(message, field.name), value)


def _put_scalar(message: Message, name: str, value: Any) -> None:
    try:
        setattr(message, name, value)
    except (ValueError, OverflowError) as error:
        fault = "is no text that UTF-8 can hold" if isinstance(value, str) else "is out of range"
        raise ValueError(f"{value!r} {fault}") from error


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name, COLUMNS, n=1)
    return f"; is it {close[0]!r}?" if close else ""
