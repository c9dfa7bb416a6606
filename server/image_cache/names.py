"""What an image is kept under: a digest of the whole request, but for what can't change a pixel.

A field that a request gains later takes part without anybody thinking of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Hashable, Mapping, Sequence, Set
from datetime import date
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from typing import Any

from server.core import ImageRequest, ModelCard

ANSWERING = frozenset(
    {
        "user_id",
        "session_id",
        "request_id",
        "deadline_s",
        "deadline_policy",
        "preview_side",
        "is_explained",
        "cache_policy",
        "is_background",
    }
)
"""Says who asks, or how to answer: nothing of it is in the picture."""

RESOLVED = frozenset(
    {
        "arm",
        "experiment",
        "arm_name",
        "model",
        "strength",
        "seed",
        "num_images",
        "slate_rank",
        "slate_size",
    }
)
"""Told by `Circumstances` as what came of it."""

_NAMES = tuple(
    field.name
    for field in dataclasses.fields(ImageRequest)
    if field.name not in ANSWERING | RESOLVED
)
_READ = attrgetter(*_NAMES)
_FIELDS: dict[type, tuple[tuple[str, bytes], ...]] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Circumstances:
    """What an image depends on beside its request.

    `product` digests all that is seen of it, by the model and of its packshot; `title` is the one
    in the language of who asks, and `taste` the cell of `quantize_taste`. `strength` is 0 where no
    shopper takes part. `brand_kit` digests the kit's content; `day` is that of an occasion, empty
    without one; `defaults` spells whatever else the server chose where the request left it open.
    """

    product: bytes
    title: str
    taste: str
    arm: str
    strength: float
    model: ModelCard
    style: str
    seeds: tuple[int, ...]
    feature_fingerprint: str
    brand_kit: bytes = b""
    day: str = ""
    defaults: bytes = b""


def name_image(request: ImageRequest, circumstances: Circumstances) -> str:
    """40 hexadecimal digits. Raises TypeError on a kind of value that it can't tell apart."""
    digest = hashlib.blake2b(_spell_request(request), digest_size=20)
    digest.update(_spell(circumstances))
    return digest.hexdigest()


def _spell_request(request: ImageRequest) -> bytes:
    """Mostly one that was spelled before, for somebody else."""
    told = _READ(request)
    try:
        return _spell_known(told)
    except TypeError:  # there is a mapping in it
        return _spell_fields(told)


@lru_cache(maxsize=2048)
def _spell_known(told: tuple[Hashable, ...]) -> bytes:
    return _spell_fields(told)


def _spell_fields(told: Sequence[object]) -> bytes:
    return b"".join(_spell(n) + _spell(value) for n, value in zip(_NAMES, told, strict=True))


def _fields_of(kind: Any) -> tuple[tuple[str, bytes], ...]:
    """Names of a dataclass's fields, and as they are spelled."""
    if (found := _FIELDS.get(kind)) is None:
        found = tuple((field.name, _spell(field.name)) for field in dataclasses.fields(kind))
        _FIELDS[kind] = found
    return found


@lru_cache(maxsize=256)
def spell_settings(*settings: Hashable) -> bytes:
    """Bytes that differ wherever settings do, which come again with every request."""
    return _spell(settings)


def _spell(value: object) -> bytes:
    """Bytes that differ wherever values do: each says its kind and its length."""
    if value is None or isinstance(value, (bool, int, date)):
        content = repr(value).encode()
    elif isinstance(value, Enum):
        content = value.name.encode()
    elif isinstance(value, str):
        content = value.encode()
    elif isinstance(value, bytes):
        content = value
    elif isinstance(value, float):
        content = struct.pack("<d", value)
    elif dataclasses.is_dataclass(value):
        content = b"".join(
            spelled + _spell(getattr(value, name)) for name, spelled in _fields_of(type(value))
        )
    elif isinstance(value, Mapping):
        content = b"".join(sorted(_spell(k) + _spell(v) for k, v in value.items()))
    elif isinstance(value, Set):
        content = b"".join(sorted(map(_spell, value)))
    elif isinstance(value, Sequence):
        content = b"".join(map(_spell, value))
    else:
        raise TypeError(f"no name can be made of a {type(value).__name__}")
    return type(value).__name__.encode() + struct.pack("<Q", len(content)) + content
