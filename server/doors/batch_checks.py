"""Finds every wrong field of a batch, each request checked as one that comes by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from etalage.v1 import batches_pb2 as pb
from etalage.v1 import images_pb2
from server.doors import wire
from server.doors.fields import Violations, check_text
from server.doors.packshots import find_faults
from server.doors.validation import MAX_REQUEST_ID, check_image
from server.errors import Violation

MAX_REQUESTS = 10_000
MAX_FOLDER = 256

_LENGTH_DELIMITED = 2  # a wire type of protobuf
_FOLDER = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", re.ASCII)


def check_batch(
    message: pb.GenerateBatchRequest,
    data: bytes,
    models: Collection[str],
    brand_kits: Collection[str],
    is_gone: Callable[[], bool] = lambda: False,
) -> Violations:
    """`data` is what the message was parsed from; whoever `is_gone` needs no answer. Decodes every
    picture: takes long."""
    yield from _check_name(message.request_id, "request_id")
    yield from _check_folder(message)
    if not 1 <= (num := len(message.requests)) <= MAX_REQUESTS:
        yield Violation("requests", f"has {num} requests; must have 1 to {MAX_REQUESTS}")
        return
    yield from _check_names(message)
    for index, (image, part) in enumerate(zip(message.requests, _list_parts(data), strict=True)):
        if is_gone():
            return
        at = f"requests[{index}]."
        yield from check_image(image, at, models, brand_kits)
        if wire.has_both_products(part):
            text = "has both forms; exactly one of product_id and inline_product is required"
            yield Violation(f"{at}product", text)
        yield from _check_pictures(image.inline_product, f"{at}inline_product.")


def name_requests(message: pb.GenerateBatchRequest) -> Iterator[str]:
    """Of each request, in order: its own, or its number from 1."""
    for number, image in enumerate(message.requests, 1):
        yield image.request_id or str(number)


def _check_folder(message: pb.GenerateBatchRequest) -> Violations:
    folder = message.output_folder or message.request_id
    yield from check_text(message.output_folder, MAX_FOLDER, "output_folder")
    if not folder or _FOLDER.fullmatch(folder):
        return
    text = "letters, digits, '-' and '_', parted by '/'"
    if message.output_folder:
        yield Violation("output_folder", f"{folder[:40]!r} is no path of {text}")
    else:
        told = f"must be set: the request_id {folder[:40]!r} is no folder of {text}"
        yield Violation("output_folder", told)


def _check_names(message: pb.GenerateBatchRequest) -> Violations:
    first: dict[str, int] = {}
    for index, name in enumerate(name_requests(message)):
        field = f"requests[{index}].request_id"
        if name in first:
            yield Violation(field, f"{name[:40]!r} is that of requests[{first[name]}]")
        first.setdefault(name, index)
        if not name.isprintable():
            yield Violation(field, "has characters that can't be printed")


def _check_name(name: str, field: str) -> Violations:
    yield from check_text(name, MAX_REQUEST_ID, field)
    if not name.isprintable():
        yield Violation(field, "has characters that can't be printed")


def _check_pictures(product: images_pb2.InlineProduct, at: str) -> Violations:
    for field, fault in find_faults(product.packshot, product.control_map, product.mask).items():
        yield Violation(f"{at}{field}", fault)


def _list_parts(data: bytes) -> list[bytes]:
    """The bytes of each request: a parsed message can't tell any more what they set twice."""
    number = pb.GenerateBatchRequest.REQUESTS_FIELD_NUMBER
    fields: Any = UnknownFieldSet(Empty.FromString(data))
    ours = number, _LENGTH_DELIMITED  # of another type it is no request, and parsing left it out
    return [field.data for field in fields if (field.field_number, field.wire_type) == ours]
