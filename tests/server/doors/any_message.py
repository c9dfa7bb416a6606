"""Messages of any kind, field by field from their descriptors, with values at the edges of each."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from tests.fuzz.seeds import draw

MAX_DEPTH = 4

_Type = FieldDescriptor
_KNOWN = ("handbag", "quality", "fast", "pt-BR", "EUR", "generic", "faces", "BR", "#1c1c1e", "b-1")
_TEXTS = ("", " ", "\0", "\n", "ʼ\u202e\ufeff", "x" * 2000, "../../etc", "%s{}{0}", "\U0010ffff")
_PICTURES = (b"", b"junk", draw("PNG"), draw("JPEG"), draw("PNG")[:60])
_FLOATS = (0.0, -0.0, 0.5, 1.0, 4.0, -1.0, 1e38, float("nan"), float("inf"), -float("inf"))
_EDGES: dict[int, tuple[Any, ...]] = {
    _Type.CPPTYPE_BOOL: (False, True),
    _Type.CPPTYPE_INT32: (0, 1, 4, -1, 2**31 - 1, -(2**31)),
    _Type.CPPTYPE_UINT32: (0, 1, 2, 64, 2**32 - 1),
    _Type.CPPTYPE_INT64: (0, 1, 1_800_000_000, -1, 2**63 - 1, -(2**63)),
    _Type.CPPTYPE_UINT64: (0, 1, 7, 2**64 - 1),
    _Type.CPPTYPE_ENUM: (0, 1, 2, 3, 7, -1, 2**31 - 1),
    _Type.CPPTYPE_FLOAT: _FLOATS,
    _Type.CPPTYPE_DOUBLE: _FLOATS,
}


def edges(field: FieldDescriptor) -> tuple[Any, ...]:
    """Of a field that is no message."""
    if field.cpp_type == _Type.CPPTYPE_STRING:
        return _PICTURES if field.type == _Type.TYPE_BYTES else _TEXTS
    return _EDGES[field.cpp_type]


def list_variants(sound: Message) -> Iterator[Message]:
    """A sound message with one field at one of its edges, for each field, also of those within."""
    kind: Any = sound.DESCRIPTOR  # its stubs have two kinds of descriptors
    for path in list_paths(kind):
        for value in edges(path[-1]):
            message = type(sound)()
            message.CopyFrom(sound)
            put(message, path, value)
            yield message


def list_paths(kind: Descriptor, depth: int = 0) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in kind.fields:
        if field.message_type is None:
            yield (field,)
        elif depth < MAX_DEPTH and not field.message_type.GetOptions().map_entry:
            yield from ((field, *rest) for rest in list_paths(field.message_type, depth + 1))


def put(message: Any, path: tuple[FieldDescriptor, ...], value: Any) -> None:
    for field in path[:-1]:
        inner = getattr(message, field.name)
        if not field.is_repeated:
            inner.SetInParent()
        message = (inner[0] if inner else inner.add()) if field.is_repeated else inner
    name = path[-1].name
    if path[-1].is_repeated:
        getattr(message, name).append(value)
    else:
        setattr(message, name, value)


@functools.cache
def messages(kind: Descriptor, depth: int = 0) -> st.SearchStrategy[Message]:
    """Some of the fields of a message, each with anything that it can hold."""
    make = message_factory.GetMessageClass(kind)
    fields = {
        field.name: values(field, depth)
        for field in kind.fields
        if field.message_type is None or depth < MAX_DEPTH
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda told: make(**told))


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if (kind := field.message_type) is not None and kind.GetOptions().map_entry:
        key, value = (single(kind.fields_by_name[name], depth) for name in ("key", "value"))
        return st.dictionaries(key, value, max_size=3)
    return st.lists(single(field, depth), max_size=3) if field.is_repeated else single(field, depth)


def single(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, depth + 1)
    told = st.sampled_from(edges(field))
    if field.cpp_type == _Type.CPPTYPE_STRING and field.type != _Type.TYPE_BYTES:
        return st.one_of(told, st.sampled_from(_KNOWN), st.text(max_size=12))
    is_float = field.cpp_type in (_Type.CPPTYPE_FLOAT, _Type.CPPTYPE_DOUBLE)
    return st.one_of(told, st.floats(width=32)) if is_float else told
