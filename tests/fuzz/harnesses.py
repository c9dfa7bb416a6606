"""What strangers may send, handed to the code that reads it: requests, pictures, files of requests.

A harness takes bytes and returns, whatever they are. It raises what must not happen: any error
that has no name in `server.errors`, or among those of pictures and tables.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from diffusion.pictures import PictureUnusable, open_mask, open_picture
from etalage.v1 import batches_pb2, enhancement_pb2, experiments_pb2, images_pb2, models_pb2
from features.catalogue import Catalogue
from features.catalogue_rows import CatalogueUnreadable
from features.packshots import PackshotUnusable, open_merchants_picture
from server.bulk.plan import Problems
from server.bulk.tables import TableUnreadable
from server.commands.creatives import read_rules
from server.configuration import CreativesSlice
from server.doors import batches, enhancement, experiments, models, validation, wire
from server.doors.batch_checks import check_batch
from server.doors.messages import request_from_proto, slate_from_proto
from server.doors.packshots import find_faults
from server.doors.request_file import RequestFile
from server.errors import EtalageError
from server.rulebook import Rulebook

MAX_BYTES = 1024 * 1024
DAY = date(2026, 11, 29)
SUFFIXES = (
    *(".jsonl", ".csv", ".parquet"),
    *(".jsonl.gz", ".csv.gz", ".parquet.gz", ".csv.bz2", ".jsonl.xz", ".csv.zst"),
)


@functools.cache
def read_shipped_rules() -> Rulebook:
    return read_rules(CreativesSlice())


def ask_image(data: bytes) -> None:
    message = wire.parse(images_pb2.GenerateImageRequest, data, MAX_BYTES)
    wire.has_both_products(data)
    _agree(message, validation.check_image(message))


def ask_stream(data: bytes) -> None:
    message = wire.parse(images_pb2.StreamImageRequest, data, MAX_BYTES)
    wire.has_both_products_inside(data, images_pb2.StreamImageRequest.IMAGE_FIELD_NUMBER)
    _agree(message.image, validation.check_stream(message))


def ask_explanation(data: bytes) -> None:
    message = wire.parse(images_pb2.ExplainImageRequest, data, MAX_BYTES)
    _agree(message.image, validation.check_explain(message))


def ask_slate(data: bytes) -> None:
    message = wire.parse(images_pb2.GenerateSlateRequest, data, MAX_BYTES)
    if not list(validation.check_slate(message)):
        first = next(slate_from_proto(message, deadline_s=None))
        read_shipped_rules().agree(first)


def ask_cancel(data: bytes) -> None:
    list(validation.check_cancel(wire.parse(images_pb2.CancelImageRequest, data, MAX_BYTES)))


def ask_batch(data: bytes) -> None:
    message = wire.parse(batches_pb2.GenerateBatchRequest, data, MAX_BYTES)
    if not list(check_batch(message, data, ("quality",), ())):
        submission = batches.submission_from_proto(message)
        batches.open_task(submission.requests[0]).open()


def ask_batches(data: bytes) -> None:
    message = wire.parse(batches_pb2.ListBatchesRequest, data, MAX_BYTES)
    list(batches._check_page(message))


def ask_repair(data: bytes) -> None:
    message = wire.parse(enhancement_pb2.EnhanceImageRequest, data, MAX_BYTES)
    if not list(enhancement.check_enhance(message, wire.has_all(data, enhancement._SOURCES))):
        enhancement.enhancement_from_proto(message, None)


def tell_events(data: bytes) -> None:
    experiments._read_events(experiments_pb2.RecordEventsRequest, data, MAX_BYTES)


def ask_load(data: bytes) -> None:
    message = wire.parse(models_pb2.LoadModelRequest, data, MAX_BYTES)
    list(models._check_path(message.specification_path))


ASKING: tuple[Callable[[bytes], None], ...] = (
    *(ask_image, ask_stream, ask_explanation, ask_slate, ask_cancel),
    *(ask_batch, ask_batches, ask_repair, tell_events, ask_load),
)


def fuzz_requests(data: bytes) -> None:
    """The first byte says which message the rest is."""
    if not data:
        return
    try:
        ASKING[data[0] % len(ASKING)](data[1:])
    except EtalageError:
        pass


def fuzz_pictures(data: bytes) -> None:
    """As a request brings them, as a catalogue does, and as a mask of a picture."""
    find_faults(data, data, data)
    try:
        open_merchants_picture(data)
    except PackshotUnusable:
        pass
    try:
        open_mask(data, open_picture(data).size)
    except PictureUnusable:
        pass


def fuzz_files(data: bytes) -> None:
    """The first byte says what the file is called, and whether it has requests or products."""
    if not data:
        return
    kind, content = data[0], data[1:]
    suffix = SUFFIXES[kind % len(SUFFIXES)]
    with tempfile.TemporaryDirectory() as folder:
        if kind >= 128:
            read_products(write(Path(folder), (suffix.partition(".gz")[0], ".json"), kind, content))
        else:
            read_requests(write(Path(folder), (suffix,), kind, content))


def write(folder: Path, suffixes: tuple[str, ...], kind: int, content: bytes) -> Path:
    path = folder / f"products{suffixes[kind % len(suffixes)]}"
    path.write_bytes(content)
    return path


def read_requests(path: Path) -> None:
    problems = Problems()
    try:
        for row in RequestFile(str(path), DAY).read(problems):
            if not row.references:  # a picture elsewhere is nothing that the file itself does
                row.open()
    except (TableUnreadable, EtalageError):
        pass
    str(list(problems._lines()))


def read_products(path: Path) -> None:
    try:
        for _ in Catalogue(path):
            pass
    except CatalogueUnreadable:
        pass


def _agree(message: images_pb2.GenerateImageRequest, violations: Iterator[Any]) -> None:
    """What a door and the rulebook make of a request before anything is read for it."""
    if list(violations):
        return
    product = message.inline_product
    if find_faults(product.packshot, product.control_map, product.mask):
        return
    read_shipped_rules().agree(request_from_proto(message, deadline_s=None))


HARNESSES: dict[str, Callable[[bytes], None]] = {
    "requests": fuzz_requests,
    "pictures": fuzz_pictures,
    "files": fuzz_files,
}
