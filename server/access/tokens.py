"""JWTs: whose name a sound one says.

Checking a signature takes a tenth of a millisecond, so a token that was sound is remembered by its
hash, for as long as it says and the keys of who issued it stay the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jwt
from cachetools import LRUCache

from server import logs
from server.access.jwks import Keys, KeySet
from server.errors import Unauthenticated

LEEWAY_S = 10
"""By which clocks may differ."""

log = logs.logger(__name__)

_NUM_KNOWN = 4096
_REQUIRED = ["exp", "iss", "aud"]


class Issuer(Protocol):
    """Whose tokens are believed, and what they must say."""

    @property
    def issuer(self) -> str: ...

    @property
    def audience(self) -> str: ...

    @property
    def algorithms(self) -> tuple[str, ...]: ...

    @property
    def claim(self) -> str: ...


class Subject(NamedTuple):
    """Who a token is about, by the issuer's name in the file and the value of its claim."""

    issuer: str
    value: str


@dataclass(frozen=True, slots=True)
class _Known:
    subject: Subject
    keys: Keys
    ends_s: float


class Tokens:
    def __init__(
        self,
        issuers: Mapping[str, tuple[Issuer, KeySet]],
        clock: Callable[[], float] = time.time,
        num_known: int = _NUM_KNOWN,
    ) -> None:
        """By their names in the file; `num_known` tokens are remembered at most."""
        self._issuers, self._clock = dict(issuers), clock
        self._known: LRUCache[bytes, _Known] = LRUCache(max(1, num_known))

    async def read(self, token: str) -> Subject:
        """Raises Unauthenticated."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is not None and self._is_good(known):
            return known.subject
        known = self._known[digest] = await self._verify(token)
        return known.subject

    def _is_good(self, known: _Known) -> bool:
        _, key_set = self._issuers[known.subject.issuer]
        return known.keys is key_set.keys and self._clock() < known.ends_s

    async def _verify(self, token: str) -> _Known:
        try:
            name, issuer, key_set = self._choose(token)
            key = await key_set.find(_key_name(token))
            if key is None or key.algorithm_name not in issuer.algorithms:
                raise jwt.InvalidKeyError("no key of the issuer's fits")
            keys = key_set.keys
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=LEEWAY_S,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("EXPIRED") from error
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            log.info("token not believed", cause=type(error).__name__)
            raise Unauthenticated("INVALID_CREDENTIALS") from error
        value = claims.get(issuer.claim)
        if not isinstance(value, str):
            raise Unauthenticated("INVALID_CREDENTIALS")
        return _Known(Subject(name, value), keys, int(claims["exp"]))

    def _choose(self, token: str) -> tuple[str, Issuer, KeySet]:
        """By what the token says, which is not believed before it is checked."""
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        for name, (issuer, key_set) in self._issuers.items():
            if issuer.issuer == claims.get("iss"):
                return name, issuer, key_set
        raise jwt.InvalidIssuerError("is none of those that are believed")


def _key_name(token: str) -> str | None:
    name = jwt.get_unverified_header(token).get("kid")
    return name if isinstance(name, str) else None
