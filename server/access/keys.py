"""API keys: 256 random bits, of which the server keeps a hash only.

A plain SHA-256 will do: what is as long as that can't be guessed, so nothing has to be slow.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Generic, TypeVar

PREFIX = "etalage_"
"""By which people, and those who look for leaked secrets, know one."""

HASH_PATTERN = r"^sha256:[0-9a-f]{64}$"

_NUM_BYTES = 32
_INDEX_BYTES = 4

T = TypeVar("T")


def make_key() -> str:
    return PREFIX + secrets.token_urlsafe(_NUM_BYTES)


def hash_key(key: str) -> str:
    """As the file of tenants has it."""
    return f"sha256:{_digest(key).hex()}"


class Keyring(Generic[T]):
    """Whose a key is. How long a look takes does not tell how much of a key was right."""

    def __init__(self, owners: Iterable[tuple[str, T]]) -> None:
        """Of hashes and those whom they belong to."""
        self._by_start: dict[bytes, list[tuple[bytes, T]]] = {}
        for told, owner in owners:
            digest = bytes.fromhex(told.removeprefix("sha256:"))
            self._by_start.setdefault(digest[:_INDEX_BYTES], []).append((digest, owner))

    def find(self, key: str) -> T | None:
        digest, found = _digest(key), None
        for known, owner in self._by_start.get(digest[:_INDEX_BYTES], ()):
            if hmac.compare_digest(known, digest):
                found = owner
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
