"""From bytes to messages, where protobuf itself says too little.

Three things that a parsed message can't tell any more: that it was too large, that it was none, and
that both members of a oneof were set, of which protobuf silently keeps the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from etalage.v1 import images_pb2 as pb
from server.errors import InvalidRequest, Violation

M = TypeVar("M", bound=Message)

# No honest image request has more top-level fields; the scan stops there, so that it stays cheap.
_MAX_FIELDS = 64
_PRODUCT_FIELDS = {
    pb.GenerateImageRequest.PRODUCT_ID_FIELD_NUMBER,
    pb.GenerateImageRequest.INLINE_PRODUCT_FIELD_NUMBER,
}


def parse(kind: type[M], data: bytes, max_bytes: int) -> M:
    """The message. Raises InvalidRequest: MESSAGE_TOO_LARGE or MALFORMED_MESSAGE."""
    try:
        message = kind.FromString(data)
    except DecodeError as error:
        violation = Violation("", f"the bytes are no {kind.DESCRIPTOR.full_name}")
        raise InvalidRequest(violation, reason="MALFORMED_MESSAGE") from error
    if len(data) > max_bytes:
        text = f"makes the message {len(data)} bytes long; at most {max_bytes} are allowed"
        raise InvalidRequest(Violation(largest_field(message), text), reason="MESSAGE_TOO_LARGE")
    return message


def largest_field(message: Message) -> str:
    """Path of the field that takes most of the message; empty where it is no known field."""
    sizes = {field: _size(value) for field, value in message.ListFields()}
    field = max(sizes, key=lambda known: sizes[known], default=None)
    if field is None or sizes[field] < message.ByteSize() / 2:
        return ""
    value = getattr(message, field.name)
    inner = largest_field(value) if isinstance(value, Message) else ""
    return f"{field.name}.{inner}" if inner else field.name


def _size(value: object) -> int:
    if isinstance(value, Message):
        return value.ByteSize()
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_size, (*value.keys(), *value.values())))
    return sum(map(_size, value)) if isinstance(value, Sequence) else 8


def has_both_products(data: bytes) -> bool:
    """Whether the bytes of a GenerateImageRequest set both forms of its product."""
    return has_all(data, _PRODUCT_FIELDS)


def has_all(data: bytes, numbers: set[int]) -> bool:
    """Whether a message sets all of these fields, of which parsing kept the last one only."""
    return numbers <= {number for number, _ in _fields(memoryview(data))}


def has_both_products_inside(data: bytes, number: int) -> bool:
    """The same for the GenerateImageRequest in field `number` of the message."""
    parts = [value for found, value in _fields(memoryview(data)) if found == number]
    seen = {inner for part in parts[:_MAX_FIELDS] for inner, _ in _fields(part)}
    return _PRODUCT_FIELDS <= seen


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and value of each length-delimited field; the data has been parsed before."""
    at = 0
    for _ in range(_MAX_FIELDS):
        if at >= len(data):
            return
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(data, at)
                yield tag >> 3, data[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                return  # groups: none of ours


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
