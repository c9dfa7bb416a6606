"""What a response was, signed, for the shop to hand back with what came of it.

A token is base64url of a 128 bit HMAC and the exposure as JSON, of which only what differs from the
default is there. It can be read by whoever has it; it holds no id of a shopper and no embedding.
"""

from __future__ import annotations

import binascii
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, Protocol

from server.experiments.events import Exposure

MAX_CHARS = 8192
"""Of a token; usual ones have about 800."""

_SIGNATURE_BYTES = 16
_PURPOSE = b"etalage exposure 1\0"
"""Signed with it, so that nothing else that the keys sign is a token, nor one of another format."""

_CODES: Mapping[str, str] = {
    "exposure_id": "i",
    "minted_s": "t",
    "unit": "u",
    "shows": "w",
    "product_id": "p",
    "seed": "s",
    "experiment": "e",
    "arm": "a",
    "propensity": "pr",
    "is_override": "o",
    "is_anonymous": "an",
    "rank": "r",
    "locale": "l",
    "is_known": "k",
    "interests": "in",
    "look": "lo",
    "reason": "re",
    "source": "so",
    "degradation": "d",
    "model": "m",
    "model_digest": "md",
    "mode": "mo",
    "strength": "st",
    "steps": "sp",
    "feature_fingerprint": "ff",
    "feature_ages_s": "fa",
    "image_key": "ik",
    "latency_s": "la",
    "context": "c",
}
"""Keys of the JSON. They stay what they are: servers of two versions open each other's tokens."""

_names = tuple(field.name for field in fields(Exposure))
_defaults = tuple(field.default for field in fields(Exposure))
_pairs = tuple((_CODES[name], default) for name, default in zip(_names, _defaults, strict=True))
_read = attrgetter(*_names)
_fields = {code: name for name, code in _CODES.items()}
_write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class SigningKeys(Protocol):
    """See `server.experiments.pseudonyms`."""

    @property
    def signing(self) -> bytes: ...

    @property
    def all(self) -> tuple[bytes, ...]: ...


class TokenForged(Exception):
    """Nothing that one of the keys signed."""

    reason = "TOKEN_FORGED"


class TokenExpired(Exception):
    """Of an answer of too long ago."""

    reason = "TOKEN_EXPIRED"


def mint_id(now_s: float) -> str:
    """Of an exposure: 32 characters that grow with the time, 80 bits of them random.

    What is minted together lies together in an index (server.experiments.event_log.tables).
    """
    return f"{int(now_s * 1000):012x}{secrets.token_hex(10)}"


def sign(exposure: Exposure, keys: SigningKeys) -> str:
    """Raises ValueError where it is not finite, or too long for a token."""
    told = {
        code: value
        for (code, default), value in zip(_pairs, _read(exposure), strict=True)
        if value != default
    }
    content = _write(told).encode()
    signed = _authenticate(content, keys.signing) + content
    token = binascii.b2a_base64(signed, newline=False).translate(_TO_URL).rstrip(b"=").decode()
    if len(token) > MAX_CHARS:
        raise ValueError(f"an exposure takes a token of {len(token)} characters")
    return token


def open_token(token: str, keys: SigningKeys, now_s: float, max_age_s: float) -> Exposure:
    """Raises TokenForged, TokenExpired."""
    signature, content = _split(token)
    if not any(hmac.compare_digest(signature, _authenticate(content, key)) for key in keys.all):
        raise TokenForged("no key of this server signed the token")
    exposure = _parse(content)
    if exposure.minted_s + max_age_s < now_s:
        raise TokenExpired(f"the image was answered more than {max_age_s:g} s ago")
    return exposure


def _authenticate(content: bytes, key: bytes) -> bytes:
    begun = _begin(key).copy()
    begun.update(content)
    return begun.digest()[:_SIGNATURE_BYTES]


@lru_cache(maxsize=64)
def _begin(key: bytes) -> hmac.HMAC:
    """What all tokens of a key begin with: to set up a key takes longer than to sign with it."""
    return hmac.new(key, _PURPOSE, "sha256")


def _split(token: str) -> tuple[bytes, bytes]:
    if len(token) > MAX_CHARS:
        raise TokenForged(f"the token is longer than {MAX_CHARS} characters")
    try:
        padded = token.encode("ascii").translate(_FROM_URL) + b"=" * (-len(token) % 4)
        signed = binascii.a2b_base64(padded, strict_mode=True)
    except ValueError:  # of ASCII, or of base64
        raise TokenForged("the token is not base64url") from None
    return signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]


def _parse(content: bytes) -> Exposure:
    told: dict[str, Any] = json.loads(content)
    # What a later version may have put there is left out.
    values = {_fields[code]: value for code, value in told.items() if code in _fields}
    for name in ("interests", "look", "context"):
        if name in values:
            values[name] = tuple(values[name])
    if "feature_ages_s" in values:
        values["feature_ages_s"] = tuple((view, age_s) for view, age_s in values["feature_ages_s"])
    return Exposure(**values)
