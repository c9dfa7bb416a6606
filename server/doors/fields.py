"""Checks of single fields, each named by its path in the message."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from server.errors import Violation

Violations = Iterator[Violation]


def check_text(text: str, max_characters: int, field: str) -> Violations:
    if len(text) > max_characters:
        yield Violation(field, f"has {len(text)} characters; at most {max_characters} are allowed")


def check_number(
    message: Message, name: str, lowest: float, highest: float, at: str = ""
) -> Violations:
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.has_presence and not message.HasField(name):
        return
    value: Any = getattr(message, name)
    if math.isnan(value) or not lowest <= value <= highest:
        yield Violation(f"{at}{name}", f"is {value:.6g}; must be from {lowest} to {highest}")


def check_enum(message: Message, name: str, at: str) -> Violations:
    number = getattr(message, name)
    enum = message.DESCRIPTOR.fields_by_name[name].enum_type
    if enum is not None and number not in enum.values_by_number:
        yield Violation(f"{at}{name}", f"{number} is no {enum.name}")
