"""A kept image as bytes: a header in JSON, the files as they are, and a digest of it all."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from server.core import Degradation, ImageResult, Personalization, Source
from server.provenance.sealing import UNSIGNED

MAGIC = b"etalage image 1\n"
"""With a number that grows whenever what was written before would be misread."""

DIGEST_SIZE = 16
_LENGTH = struct.Struct("<I")
OVERHEAD_BYTES = 2048
"""Of a result in memory, beside its files."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A result that may be shown to others, and when it was made, in seconds since 1970."""

    result: ImageResult
    made_s: float

    @property
    def num_bytes(self) -> int:
        return OVERHEAD_BYTES + sum(len(image.data) for image in self.result.images)


_HEADER: TypeAdapter[tuple[Kept, tuple[int, ...]]] = TypeAdapter(tuple[Kept, tuple[int, ...]])


def is_worth_keeping(result: ImageResult) -> bool:
    """Made for this, whole, and each of its images good enough."""
    is_whole = result.source is Source.GENERATED and result.degradation is Degradation.NONE
    is_good = (
        UNSIGNED not in result.warnings
        and not result.num_missing
        and not any(image.is_original for image in result.images)
    )
    return is_whole and is_good


def anonymize(result: ImageResult) -> ImageResult:
    """The result as others may have it: what it says of one request or shopper is gone."""
    account = result.personalization
    return replace(
        result,
        source=Source.CACHE if result.source is Source.GENERATED else result.source,
        personalization=Personalization(account.reason),
        timings_s={},
        request_id="",
        explanation=None,
        num_forward_rows=0,
        num_shared_steps=0,
    )


def pack(kept: Kept) -> bytes:
    files = [image.data for image in kept.result.images]
    bare = tuple(replace(image, data=b"") for image in kept.result.images)
    told = replace(kept, result=replace(kept.result, images=bare))
    header = _HEADER.dump_json((told, tuple(map(len, files))))
    content = b"".join([MAGIC, _LENGTH.pack(len(header)), header, *files])
    return content + hashlib.blake2b(content, digest_size=DIGEST_SIZE).digest()


def unpack(data: bytes) -> Kept:
    """Raises ValueError on anything but what `pack` gave."""
    content, digest = data[:-DIGEST_SIZE], data[-DIGEST_SIZE:]
    if not content.startswith(MAGIC):
        raise ValueError("no image of this version")
    if hashlib.blake2b(content, digest_size=DIGEST_SIZE).digest() != digest:
        raise ValueError("the content is not what was written")
    start = len(MAGIC) + _LENGTH.size
    (length,) = _LENGTH.unpack_from(content, len(MAGIC))
    kept, sizes = _HEADER.validate_json(content[start : start + length])
    start += length
    images = []
    for image, size in zip(kept.result.images, sizes, strict=True):
        images.append(replace(image, data=content[start : start + size]))
        start += size
    return replace(kept, result=replace(kept.result, images=tuple(images)))
