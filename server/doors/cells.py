"""A cell of a table → the value of a field, by the field's type. Raises ValueError, saying why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from etalage.v1 import layouts_pb2

Reader = Callable[[object], Any]

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_PRICE = re.compile(r"(?P<amount>\d+(\.\d+)?) (?P<currency>[A-Z]{3})", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


def choose_reader(field: FieldDescriptor) -> Reader:
    """What reads a cell for this field; a picture, of type bytes, is read elsewhere."""
    if (kind := field.message_type) is not None:
        if kind.GetOptions().map_entry:
            return read_texts
        if kind.full_name in _MESSAGES:
            return _MESSAGES[kind.full_name]
        return read_object
    if field.enum_type is not None:
        return read_words(field.enum_type) if field.is_repeated else read_word(field.enum_type)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return read_flag
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return read_number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return read_id if field.name.endswith("_id") else read_text
    return read_whole


def read_text(cell: object) -> str:
    if not isinstance(cell, str):
        raise ValueError(f"{_show(cell)} is no text")
    return cell


def read_id(cell: object) -> str:
    """Ids are whole numbers in many a shop."""
    is_number = isinstance(cell, int) and not isinstance(cell, bool)
    return str(cell) if is_number else read_text(cell)


def read_flag(cell: object) -> bool:
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, str) and cell.strip().lower() in _FLAGS:
        return _FLAGS[cell.strip().lower()]
    raise ValueError(f"{_show(cell)} is neither true nor false")


def read_whole(cell: object) -> int:
    """A column of whole numbers with gaps in it comes as floats from many a tool."""
    if isinstance(cell, str) and _WHOLE.fullmatch(cell.strip()):
        return int(cell)
    if isinstance(cell, int | float | Decimal) and not isinstance(cell, bool):
        if cell == cell and abs(cell) != float("inf") and cell == int(cell):
            return int(cell)
    raise ValueError(f"{_show(cell)} is no whole number")


def read_number(cell: object) -> float:
    if isinstance(cell, int | float | Decimal | str) and not isinstance(cell, bool):
        try:
            return float(cell)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"{_show(cell)} is no number")


def read_word(enum: EnumDescriptor) -> Reader:
    """`preserve` as well as `MODE_PRESERVE`."""
    names = [value.name for value in enum.values]
    prefix = names[0].removesuffix("UNSPECIFIED")
    known = {name.removeprefix(prefix).lower(): enum.values_by_name[name].number for name in names}
    known.pop("unspecified", None)

    def read(cell: object) -> int:
        word = cell.strip().lower().removeprefix(prefix.lower()) if isinstance(cell, str) else ""
        if word not in known:
            raise ValueError(f"{_show(cell)} is none of {', '.join(known)}")
        return known[word]

    return read


def read_words(enum: EnumDescriptor) -> Reader:
    """A list, or words parted by commas."""
    read_one = read_word(enum)

    def read(cell: object) -> list[int]:
        parts = cell.split(",") if isinstance(cell, str) else cell
        if not isinstance(parts, list | tuple):
            raise ValueError(f"{_show(cell)} is no list of words")
        return [read_one(part) for part in parts]

    return read


def read_texts(cell: object) -> dict[str, str]:
    """A mapping, or JSON of one; an entry of nothing is none."""
    told = _parse_json(cell)
    if not isinstance(told, Mapping):
        raise ValueError(f"{_show(cell)} is no mapping of texts")
    known = {name: value for name, value in told.items() if value is not None}
    for name, value in known.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise ValueError(f"{_show(name)}: {_show(value)} is no text")
    return known


def read_object(cell: object) -> Mapping[str, Any]:
    """As in protobuf's own JSON, or a text of it."""
    told = _parse_json(cell)
    if not isinstance(told, Mapping):
        raise ValueError(f"{_show(cell)} is no object")
    pruned: Mapping[str, Any] = _prune(told)
    return pruned


def read_price(cell: object) -> layouts_pb2.Price:
    """ "12.50 EUR", or an object."""
    if not isinstance(cell, str) or cell.lstrip().startswith("{"):
        price = layouts_pb2.Price()
        fill(price, read_object(cell))
        return price
    found = _PRICE.fullmatch(cell.strip())
    if found is None:
        raise ValueError(f"{_show(cell)} is no price such as '12.50 EUR'")
    units, _, decimals = found["amount"].partition(".")
    if len(decimals.rstrip("0")) > 9:
        raise ValueError(f"{_show(cell)} has more than nine decimals")
    if int(units) >= 2**63:
        raise ValueError(f"{_show(cell)} is too much")
    nanos = int(decimals[:9].ljust(9, "0"))
    return layouts_pb2.Price(currency_code=found["currency"], units=int(units), nanos=nanos)


def read_day(cell: object) -> Timestamp:
    """A date, or a moment whose date in UTC counts; in ISO 8601, if it is a text."""
    if isinstance(cell, str):
        try:
            cell = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise ValueError(f"{_show(cell)} is no day such as '2026-12-24'") from None
    if isinstance(cell, datetime):
        try:
            cell = (cell.astimezone(UTC) if cell.tzinfo else cell).date()
        except OverflowError:
            raise ValueError(f"{_show(cell)} is no day of UTC") from None
    if not isinstance(cell, date):
        raise ValueError(f"{_show(cell)} is no day")
    moment = Timestamp()
    moment.FromDatetime(datetime.combine(cell, time()))
    return moment


def fill(message: Message, told: Mapping[str, Any]) -> None:
    """Raises ValueError where it is no JSON of such a message."""
    try:
        ParseDict(dict(told), message)
    except ParseError as error:
        raise ValueError(str(error).partition("\n")[0]) from error


_MESSAGES: dict[str, Reader] = {
    layouts_pb2.Price.DESCRIPTOR.full_name: read_price,
    Timestamp.DESCRIPTOR.full_name: read_day,
}


def _parse_json(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    try:
        told: object = json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError(f"{_show(cell)} is no JSON") from None
    return told


def _prune(value: Any) -> Any:
    """Without what is None: a struct in parquet has each of its fields in every row."""
    if isinstance(value, Mapping):
        return {name: _prune(inner) for name, inner in value.items() if inner is not None}
    return [_prune(inner) for inner in value] if isinstance(value, list) else value


def _show(cell: object) -> str:
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."
