"""Manifests of c2pa without chance, and files that are built in another way."""

import struct

import pytest

from server.provenance.settling import Unsettled, exchange, find_assertions, put_back


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def superbox(label, *inner, salt=b""):
    described = bytes(16) + b"\x13" + label + b"\0" + (box(b"c2sh", salt) if salt else b"")
    return box(b"jumb", box(b"jumd", described) + b"".join(inner))


def manifest(*assertions):
    return superbox(b"c2pa", superbox(b"urn", superbox(b"c2pa.assertions", *assertions)))


def test_assertions_are_found_and_nothing_else():
    salted = [superbox(name, salt=bytes(16)) for name in (b"one", b"two")]
    data = manifest(*salted)
    assert [data[a - 8 : b] for a, b in find_assertions(data)] == salted


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (manifest(superbox(b"plain")), "no salt"),
        (struct.pack(">I4s", 3, b"jumb"), "no length"),
        (struct.pack(">I4s", 300, b"jumb"), "no length"),
    ],
)
def test_what_is_built_in_another_way_is_found_out(data, fault):
    with pytest.raises(Unsettled, match=fault):
        list(find_assertions(data))


def test_nothing_is_put_where_it_does_not_fit():
    assert exchange(b"a-old-b", b"old", b"new") == b"a-new-b"
    for old, new in ((b"not", b"new"), (b"-", b"+"), (b"old", b"longer")):
        with pytest.raises(Unsettled):
            exchange(b"a-old-b", old, new)
    with pytest.raises(Unsettled, match="in one piece"):
        put_back(b"file", b"manifest", b"MANIFEST")
