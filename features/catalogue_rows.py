"""The files that a catalogue may come as → plain rows, each with a label that finds it again."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.coco import read_coco

NAMES = ("products", "catalogue", "catalog")
SUFFIXES = (".jsonl", ".parquet", ".csv")

_UNREADABLE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError),
    csv.Error,
)

LabelledRow = tuple[str, dict[str, Any] | str]
"""Where it is, and the row itself or what is wrong with all of it."""


class CatalogueUnreadable(ValueError):
    """There is no catalogue there, or none in a form that is known."""


def find_catalogue(path: Path) -> list[Path]:
    """The file or, for COCO, files that make the catalogue at `path`, a file or a folder."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CatalogueUnreadable(f"no catalogue at {path}")
    for name in NAMES:
        for suffix in SUFFIXES:
            if (path / f"{name}{suffix}").is_file():
                return [path / f"{name}{suffix}"]
    documents = sorted([*path.glob("*.json"), *path.glob("annotations/*.json")])
    if documents:
        return documents
    wanted = ", ".join(f"products{suffix}" for suffix in SUFFIXES)
    raise CatalogueUnreadable(f"{path} holds none of {wanted}, nor COCO annotations (*.json)")


def read_rows(files: list[Path]) -> Iterator[LabelledRow]:
    """Rows in the order of the file; CatalogueUnreadable where it is not of its own kind."""
    first = files[0]
    readers = {".jsonl": _read_jsonl, ".parquet": _read_parquet, ".csv": _read_csv}
    try:
        if first.suffix == ".json":
            yield from read_coco(files)
        elif first.suffix in readers:
            yield from readers[first.suffix](first)
        else:
            raise CatalogueUnreadable(f"{first.name}: want .jsonl, .parquet, .csv or COCO .json")
    except _UNREADABLE as error:
        raise CatalogueUnreadable(f"{first}: {error}") from error


def estimate_rows(files: list[Path]) -> int | None:
    """Lines or parquet rows; None for COCO, or where the file can't be read."""
    try:
        if files[0].suffix == ".parquet":
            return int(pq.read_metadata(files[0]).num_rows)
        if files[0].suffix in (".jsonl", ".csv"):
            with files[0].open("rb") as lines:
                return sum(1 for _ in lines)
    except (OSError, ValueError):
        pass
    return None


def _read_jsonl(path: Path) -> Iterator[LabelledRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            label = f"line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield label, "is no JSON"
                continue
            yield label, row if isinstance(row, dict) else "is no JSON object"


def _read_parquet(path: Path) -> Iterator[LabelledRow]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist(maps_as_pydicts="lossy"):
                number += 1
                yield f"row {number}", row


def _read_csv(path: Path) -> Iterator[LabelledRow]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), 1):
            extra = row.pop(None, None)  # type: ignore[call-overload]
            label = f"row {number}"
            yield label, "has more fields than the header" if extra else dict(row)
