"""A file of requests: each row checked as a request at the other doors is, and opened when it is
its turn."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import PurePath
from typing import Any

import fsspec

from etalage.v1 import images_pb2 as pb
from server import logs
from server.bulk.plan import Problems
from server.bulk.record import Failure
from server.bulk.store import tell
from server.bulk.tables import read_table
from server.core import ImageRequest
from server.doors.columns import ReadRow, name_column, read_row
from server.doors.messages import request_from_proto
from server.doors.packshots import find_faults
from server.doors.status import code_of, is_expected, message_of, reason_of
from server.doors.validation import check_image
from server.errors import InvalidRequest, Violation

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A task (server.bulk.record): light, and as it is it can go to another process."""

    name: str
    number: int
    digest: str
    message: bytes
    references: tuple[str, ...]
    folder: str
    model: str
    brand_kit: str

    def open(self) -> ImageRequest:
        """Raises InvalidRequest where a picture can't be read."""
        request = pb.GenerateImageRequest.FromString(self.message)
        product = request.inline_product
        for field in self.references:
            try:
                data = _read_picture(getattr(product, field).decode(), self.folder)
            except Exception as error:  # the clients of many a cloud have errors of their own
                fault = f"can't be read: {tell(error)}"
                raise InvalidRequest(Violation(field, fault)) from error
            setattr(product, field, data)
        faults = find_faults(product.packshot, product.control_map, product.mask)
        if faults:
            raise InvalidRequest(*(Violation(*fault) for fault in faults.items()))
        return request_from_proto(request, deadline_s=None)


class RequestFile:
    """`day` is that of requests which go by the season and name none. Pictures that lie at relative
    paths lie beside the file.

    Where a request says nothing of it, no image of an earlier request answers it: which one it
    would be is chance.
    """

    def __init__(self, url: str, day: date) -> None:
        self.url, self._day = url, day
        self._folder = url.rpartition("/")[0] if "://" in url else str(PurePath(url).parent)

    def read(self, problems: Problems) -> Iterator[RequestRow]:
        """Rows without a problem; what is wrong with the others goes to `problems`. Models and
        brand kits are not known here. Raises TableUnreadable."""
        for number, cells in read_table(self.url):
            if isinstance(cells, str):
                problems.add(number, "", cells)
                continue
            row = read_row(cells)
            violations = list(row.violations) or list(_check(row))
            for violation in violations:
                problems.add(number, name_column(violation.field), violation.description)
            if not violations:
                yield self._make(number, row)

    def _make(self, number: int, row: ReadRow) -> RequestRow:
        request = row.request
        name = request.request_id or str(number)
        request.request_id = ""
        content = request.SerializeToString(deterministic=True)
        request.request_id = name
        if not request.cache_policy:
            request.cache_policy = pb.CACHE_POLICY_BYPASS
        if request.localization.occasion and not request.localization.HasField("time"):
            request.localization.time.FromDatetime(datetime.combine(self._day, time()))
        return RequestRow(
            name,
            number,
            hashlib.blake2b(content, digest_size=16).hexdigest(),
            request.SerializeToString(),
            row.references,
            self._folder,
            request.model,
            request.brand_kit,
        )


def explain(error: Exception) -> Failure:
    """As a client would be told."""
    if not is_expected(error):
        log.error("failed", exc_info=error)
    return Failure(code_of(error).name, reason_of(error), message_of(error))


def _check(row: ReadRow) -> Iterator[Violation]:
    known = _Any()
    return check_image(row.request, models=known, brand_kits=known)


class _Any(Collection[str]):
    """Names that are looked at later, when it is known which there are."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _read_picture(reference: str, folder: str) -> bytes:
    if "://" not in reference and not PurePath(reference).is_absolute():
        reference = f"{folder}/{reference}"
    file: Any
    with fsspec.open(reference, "rb") as file:
        data: bytes = file.read()
    return data
