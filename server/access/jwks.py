"""Public keys of those who issue tokens: a JSON Web Key Set, from a file or by HTTPS."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import jwt
from cryptography.exceptions import UnsupportedAlgorithm

from server import logs
from server.access.watched import ReloadObserver

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""All need a public key: there is none that a secret, or nothing at all, would do for."""

MAX_BYTES = 1024 * 1024
TIMEOUT_S = 5.0
STALE_S = 300.0
"""After how long a set is read again, whether somebody asks for an unknown key or not."""
PAUSE_S = 10.0
"""Between two reads for unknown keys: who makes up names of keys can't make us read more often."""

Keys = Mapping[str, jwt.PyJWK]
log = logs.logger(__name__)


class JwksUnusable(ValueError):
    """Says where it was read and why it can't be used."""


class KeySet:
    """Keys by their names, in `keys`, which is another value whenever they change."""

    def __init__(
        self,
        source: str,
        authorities: Path | None,
        observer: ReloadObserver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`authorities` vouch for the host of a URL, in PEM; None for those of the system."""
        self.keys: Keys = {}
        self._source, self._authorities = source, authorities
        self._observer, self._clock = observer, clock
        self._content: bytes | None = None
        self._fault = ""
        self._read_s = -STALE_S
        self._reading: asyncio.Task[None] | None = None

    def load(self) -> None:
        """At the start. A file must be there and sound, or JwksUnusable is raised; of a host that
        does not answer yet, keys are asked for again when somebody needs them."""
        try:
            self._take(self._fetch())
        except JwksUnusable as error:
            if not is_url(self._source):
                raise
            log.error("no keys yet", error=str(error))
        else:
            self._read_s = self._clock()

    async def find(self, name: str | None) -> jwt.PyJWK | None:
        """The key of that name, or without a name the only one there is."""
        key = _pick(self.keys, name)
        if key is None and self._clock() - self._read_s >= PAUSE_S:
            await self._read_once()
            key = _pick(self.keys, name)
        return key

    async def refresh(self) -> None:
        """Reads a file at every call, and a URL where what it said is old."""
        if not is_url(self._source) or self._clock() - self._read_s >= STALE_S:
            await self._read_once()

    async def _read_once(self) -> None:
        """Together with all others who wait for it."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            self._take(await asyncio.to_thread(self._fetch))
        except JwksUnusable as error:
            if str(error) != self._fault:  # once, however often it is looked at
                self._observer.reloaded("jwks", "failed")
                log.error("keys not read again, the old ones stay", error=str(error))
            self._fault = str(error)
        else:
            self._fault = ""
        finally:
            self._read_s = self._clock()
            self._reading = None

    def _take(self, content: bytes) -> None:
        if content == self._content:
            return
        keys = read_keys(self._source, content)
        is_first, self._content, self.keys = self._content is None, content, keys
        if not is_first:
            self._observer.reloaded("jwks", "ok")
        log.info("keys read", source=self._source, num_keys=len(keys))

    def _fetch(self) -> bytes:
        """Raises JwksUnusable."""
        try:
            if not is_url(self._source):
                return Path(self._source).read_bytes()
            with self._opener().open(self._source, timeout=TIMEOUT_S) as answer:
                content: bytes = answer.read(MAX_BYTES + 1)
        except (OSError, URLError, ValueError) as error:
            raise JwksUnusable(f"{self._source}: can't be read: {error}") from error
        if len(content) > MAX_BYTES:
            raise JwksUnusable(f"{self._source}: is longer than {MAX_BYTES} bytes")
        return content

    def _opener(self) -> urllib.request.OpenerDirector:
        trust = ssl.create_default_context(cafile=self._authorities)
        return urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust), _Stay())


class _Stay(urllib.request.HTTPRedirectHandler):
    """Keys come from where they were said to be, or not at all."""

    def redirect_request(self, *_: Any) -> None:
        return None


def is_url(source: str) -> bool:
    return source.startswith("https://")


def read_keys(source: str, content: bytes) -> Keys:
    """Those that signatures can be checked with; others are passed over. Raises JwksUnusable."""
    try:
        told = json.loads(content)["keys"]
        keys = [key for each in told if (key := _read_key(each)) is not None]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise JwksUnusable(f"{source}: is no JSON Web Key Set of public keys") from error
    if not keys:
        raise JwksUnusable(f"{source}: has no public key for signatures")
    return {key.key_id or "": key for key in keys}


def _read_key(told: Mapping[str, Any]) -> jwt.PyJWK | None:
    """None where it is of a kind that nothing here knows, or not for signatures."""
    if told.get("kty") not in ("RSA", "EC", "OKP") or told.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(dict(told))
    except (jwt.PyJWTError, UnsupportedAlgorithm):
        return None
    return key if key.algorithm_name in ALGORITHMS else None


def _pick(keys: Keys, name: str | None) -> jwt.PyJWK | None:
    if name is None and len(keys) == 1:
        return next(iter(keys.values()))
    return keys.get(name or "")
