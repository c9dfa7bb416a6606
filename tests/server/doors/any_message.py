"""Messages of any kind, field by field from their descriptors, with values at the edges of each."""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from tests.fuzz.seeds import draw

MAX_DEPTH = 4

_KNOWN = ("handbag", "quality", "fast", "pt-BR", "EUR", "generic", "faces", "BR", "#1c1c1e", "b-1")
_TEXTS = st.one_of(
    st.sampled_from(_KNOWN),
    st.sampled_from(("", " ", "\0", "\n", "ʼ\u202e\ufeff", "x" * 300, "../../etc", "%s{}{0}")),
    st.text(max_size=12),
)
_FLOATS = st.one_of(
    st.sampled_from((0.0, -0.0, 0.5, 1.0, 4.0, -1.0, 1e38, float("nan"), float("inf"))),
    st.floats(width=32),
)
_PICTURES = st.sampled_from((b"", b"junk", draw("PNG"), draw("JPEG"), draw("PNG")[:60]))
_Type = FieldDescriptor
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    _Type.CPPTYPE_BOOL: st.booleans(),
    _Type.CPPTYPE_INT32: st.sampled_from((0, 1, 4, -1, 2**31 - 1, -(2**31))),
    _Type.CPPTYPE_UINT32: st.sampled_from((0, 1, 2, 64, 2**32 - 1)),
    _Type.CPPTYPE_INT64: st.sampled_from((0, 1, 1_800_000_000, -1, 2**63 - 1, -(2**63))),
    _Type.CPPTYPE_UINT64: st.sampled_from((0, 1, 7, 2**64 - 1)),
    _Type.CPPTYPE_ENUM: st.sampled_from((0, 1, 2, 3, 7, -1, 2**31 - 1)),
    _Type.CPPTYPE_FLOAT: _FLOATS,
    _Type.CPPTYPE_DOUBLE: _FLOATS,
}


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
    if field.cpp_type == _Type.CPPTYPE_STRING:
        return _PICTURES if field.type == _Type.TYPE_BYTES else _TEXTS
    return _SCALARS[field.cpp_type]
