"""What chance has put into a manifest is replaced by what follows from its content.

c2pa draws a salt for each assertion, so that no two manifests are the same. Here the salts, and the
manifest's own name, are derived from what the assertions say, among which is the hash of the file:
the same image then gets the same manifest, and the same bytes, on any machine and in any shard.
What they salt is public anyway: nothing is ever redacted.

Nothing changes its length: a hash is put in the place of a hash.
"""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections.abc import Iterator

UNNAMED = "00000000-0000-4000-8000-000000000000"
"""Stands for the name in a manifest that is not settled yet."""

ASSERTIONS = b"c2pa.assertions"
SALT_HEADER, SALT_BYTES = b"\0\0\0\x18c2sh", 16


class Unsettled(RuntimeError):
    """A manifest is not built as those of this version of c2pa are."""


def settle(manifest: bytes, claim: bytes) -> tuple[bytes, bytes]:
    """The same without chance: a manifest (JUMBF) and what is signed of it, which has the hashes of
    its assertions. Raises Unsettled."""
    settled, told = bytearray(manifest), hashlib.sha256()
    spans = list(find_assertions(manifest))
    for start, end in spans:
        told.update(_without_salt(manifest[start:end]))
    for number, (start, end) in enumerate(spans):
        old = manifest[start:end]
        at = old.find(SALT_HEADER) + len(SALT_HEADER)
        salt = hashlib.sha256(told.digest() + bytes([number])).digest()[:SALT_BYTES]
        new = old[:at] + salt + old[at + SALT_BYTES :]
        settled[start:end] = new
        before, after = (hashlib.sha256(each).digest() for each in (old, new))
        claim = exchange(claim, before, after)
        settled = bytearray(exchange(bytes(settled), before, after))
    name = str(uuid.UUID(bytes=told.digest()[:16], version=4)).encode()
    unnamed = UNNAMED.encode()
    return bytes(settled).replace(unnamed, name), claim.replace(unnamed, name)


def put_back(file: bytes, old: bytes, new: bytes) -> bytes:
    """The file with another manifest of the same length in the place of the first. Raises
    Unsettled."""
    at = file.find(old)
    if at < 0 or len(old) != len(new):
        raise Unsettled("a manifest does not lie in one piece")
    end = at + len(new)
    changed = b"".join([file[:at], new, file[end:]])
    if not file.startswith(b"\x89PNG"):
        return changed
    check = zlib.crc32(changed[at - 4 : end]).to_bytes(4, "big")
    return b"".join([changed[:end], check, changed[end + 4 :]])


def find_assertions(manifest: bytes) -> Iterator[tuple[int, int]]:
    """Where the content of each assertion begins and ends, behind its header. Raises Unsettled."""
    for start, end in _walk(manifest, 0, len(manifest), 0):
        if SALT_HEADER not in manifest[start:end]:
            raise Unsettled("an assertion has no salt")
        yield start, end


def _walk(data: bytes, start: int, end: int, depth: int) -> Iterator[tuple[int, int]]:
    """Store, manifest, assertion store: the boxes in that are assertions."""
    while start < end:
        size = int.from_bytes(data[start : start + 4], "big")
        if not 8 <= size <= end - start:
            raise Unsettled("a box of a manifest has no length")
        if data[start + 4 : start + 8] == b"jumb":
            inner = start + 8
            described = inner + int.from_bytes(data[inner : inner + 4], "big")
            if depth == 3:
                yield inner, start + size
            elif depth < 2 or ASSERTIONS + b"\0" in data[inner:described]:
                yield from _walk(data, described, start + size, depth + 1)
        start += size


def _without_salt(assertion: bytes) -> bytes:
    at = assertion.find(SALT_HEADER) + len(SALT_HEADER)
    return assertion[:at] + assertion[at + SALT_BYTES :]


def exchange(data: bytes, old: bytes, new: bytes) -> bytes:
    """One part for another of the same length. Raises Unsettled unless it is there once."""
    if data.count(old) != 1 or len(old) != len(new):
        raise Unsettled("a hash or a signature is not where it should be")
    return data.replace(old, new)
