"""Files of requests as plain rows: parquet, JSONL and CSV, from wherever fsspec reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec
import pyarrow.parquet as pq

from server.bulk.store import tell

_BATCH = 1024
_SUFFIXES = (".parquet", ".jsonl", ".csv")
_PACKED = (".gz", ".bz2", ".xz", ".zst")

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Of a row in JSONL or CSV: a packed file of a few kilobytes may hold one that fills the memory."""

MAX_PAGE_BYTES = 2 * 1024**3
"""Of a row group of parquet, unpacked, for the same reason."""

NumberedRow = tuple[int, Mapping[str, Any] | str]
"""Its place from 1 (in JSONL its line), and its cells or what is wrong with all of it."""


class TableUnreadable(ValueError):
    """There is no such file, or none in a form that is known."""


def read_table(url: str) -> Iterator[NumberedRow]:
    """Rows in order, a few at a time in memory. Raises TableUnreadable."""
    readers = {".parquet": _read_parquet, ".jsonl": _read_jsonl, ".csv": _read_csv}
    reader = readers[find_format(url)]
    try:
        with fsspec.open(url, "rb", compression="infer") as file:
            yield from reader(file)
    except Exception as error:  # the clients of many a cloud have errors of their own
        raise TableUnreadable(f"{url}: {tell(error)}") from error


def find_format(url: str) -> str:
    """The suffix that says how to read it, without what it is packed with."""
    path = url.lower()
    for packed in _PACKED:
        path = path.removesuffix(packed)
    for suffix in _SUFFIXES:
        if path.endswith(suffix):
            return suffix
    raise TableUnreadable(f"{url}: is none of {', '.join(_SUFFIXES)}")


def _read_parquet(file: Any) -> Iterator[NumberedRow]:
    number = 0
    with pq.ParquetFile(file) as table:
        names = table.schema_arrow.names
        if twice := {name for name in names if names.count(name) > 1}:
            raise TableUnreadable(f"has a column twice: {', '.join(sorted(twice))}")
        for index in range(table.num_row_groups):
            if table.metadata.row_group(index).total_byte_size > MAX_PAGE_BYTES:
                text = f"has a row group of more than {MAX_PAGE_BYTES:,} bytes; write smaller ones"
                raise TableUnreadable(text)
        for batch in table.iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist(maps_as_pydicts="strict"):
                number += 1
                yield number, row


def _read_jsonl(file: Any) -> Iterator[NumberedRow]:
    for number, line in enumerate(_read_lines(file), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_refuse_twice)
        except _Twice as twice:
            yield number, f"has {twice} twice"
        except (ValueError, RecursionError):
            yield number, "is no JSON"
        else:
            yield number, row if isinstance(row, dict) else "is no JSON object"


class _Twice(Exception):
    """A key of a JSON object."""


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(repr(next(name for name in names if names.count(name) > 1)))
    return found


def _read_lines(file: Any) -> Iterator[Any]:
    """Bytes or texts. Raises TableUnreadable rather than hold one that never ends."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise TableUnreadable(f"has a line of more than {MAX_LINE_BYTES:,} bytes")
        yield line


def _read_csv(file: Any) -> Iterator[NumberedRow]:
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
        rows = csv.reader(_read_lines(lines), strict=True)
        header = next(rows, [])
        if len(set(header)) < len(header):
            raise TableUnreadable("has a column twice")
        for number, row in enumerate((row for row in rows if row), 1):
            if len(row) != len(header):
                yield number, f"has {len(row)} fields; the header has {len(header)}"
            else:
                yield number, dict(zip(header, row, strict=True))
