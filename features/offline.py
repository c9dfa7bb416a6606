"""The offline store's files: parquet parts per view, sifted before they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.schema import TIMESTAMP, View
from features.vector import Vector

CLOCK_SKEW = timedelta(minutes=5)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a row of a table was left out."""

    row: int
    key: str
    column: str
    description: str


def to_vectors(matrix: Vector, is_known: Mask | None = None) -> pa.ListArray:
    """[n, width] → n lists; where `is_known` [n] is false, null."""
    num_rows, width = matrix.shape
    known = np.ones(num_rows, np.bool_) if is_known is None else is_known
    offsets = np.concatenate([[0], np.cumsum(known * width)]).astype(np.int32)
    values = pa.array(matrix[known].astype(np.float32).reshape(-1))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~known))


def to_matrix(lists: pa.ChunkedArray | pa.ListArray, width: int) -> Vector:
    """n lists of `width` numbers → [n, width]; a null becomes a row of zeros."""
    matrix = np.zeros((len(lists), width), np.float32)
    known = pc.is_valid(lists).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    matrix[known] = flat.reshape(-1, width)
    return matrix


def sift(view: View, table: pa.Table, width: int) -> tuple[pa.Table, list[Flaw]]:
    """The rows that may be stored, in the view's own schema, and why the others may not.

    Feast stores vectors of any width, and a batch of NaN as zeros, without a word.
    """
    table = table.select(view.arrow.names).cast(view.arrow).combine_chunks()
    latest = pa.scalar(datetime.now(UTC) + CLOCK_SKEW, view.arrow.field(TIMESTAMP).type)
    times = table.column(TIMESTAMP)
    found = {
        (view.key, "is empty"): pc.equal(pc.utf8_length(pc.fill_null(table[view.key], "")), 0),
        (TIMESTAMP, "is missing"): pc.is_null(times),
        (TIMESTAMP, "lies in the future"): pc.fill_null(pc.greater(times, latest), False),
    }
    masks = {place: mask.to_numpy(zero_copy_only=False) for place, mask in found.items()}
    for name in view.vectors:
        length = view.length(name, width)
        wrong_length, not_finite = _find_flawed_vectors(table.column(name), length)
        masks[name, f"is not {length} numbers wide"] = wrong_length
        masks[name, "holds numbers that are not finite"] = not_finite
    return _drop(view, table, masks)


def _find_flawed_vectors(lists: pa.ChunkedArray, length: int) -> tuple[Mask, Mask]:
    lengths = pc.fill_null(pc.list_value_length(lists), length)
    wrong_length = pc.not_equal(lengths, length).to_numpy(zero_copy_only=False)
    parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    flat = pc.fill_null(pc.list_flatten(lists), float("nan")).to_numpy(zero_copy_only=False)
    not_finite = np.zeros(len(lists), np.bool_)
    not_finite[parents[~np.isfinite(flat)]] = True
    return wrong_length, not_finite & ~wrong_length


def _drop(
    view: View, table: pa.Table, masks: dict[tuple[str, str], Mask]
) -> tuple[pa.Table, list[Flaw]]:
    keys = table.column(view.key)
    flaws = [
        Flaw(int(row), str(keys[int(row)].as_py()), column, description)
        for (column, description), mask in masks.items()
        for row in np.flatnonzero(mask)
    ]
    if not flaws:
        return table, []
    is_good = ~np.logical_or.reduce(list(masks.values()))
    return table.filter(pa.array(is_good)), sorted(flaws, key=lambda flaw: flaw.row)


def write_part(folder: Path, name: str, table: pa.Table) -> Path:
    """Writes `<name>.parquet` whole or not at all; an older part of that name is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    unfinished = folder / f".{name}.unfinished"  # readers of the folder pass over dotted names
    pq.write_table(table, unfinished)
    os.replace(unfinished, path)
    return path


def split_rows(table: pa.Table, num_rows: int) -> Iterator[pa.Table]:
    return (table.slice(start, num_rows) for start in range(0, len(table), num_rows))
