"""What exported files hold: the columns of `tables`, and when it was as a timestamp.

Lists are lists, `feature_ages_s` one of {view: string, age_s: double}, `seed` an unsigned number.
Times that end in _s are Unix time in seconds. `event_timestamp` is `time_s` in microseconds, UTC:
when it happened, as the shop's clock had it; `received_s` is when it was written here.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.json as pj
import pyarrow.parquet as pq
from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Integer, Table, Text

TIMESTAMP = "event_timestamp"

_INSTANT = pa.timestamp("us", "UTC")
_KINDS = {
    Text: pa.string(),
    Double: pa.float64(),
    Boolean: pa.bool_(),
    Integer: pa.int32(),
    BigInteger: pa.int64(),
    JSON: pa.string(),
}
_SPECIAL_KINDS = {
    "seed": pa.uint64(),
    "interests": pa.list_(pa.string()),
    "look": pa.list_(pa.string()),
    "feature_ages_s": pa.list_(pa.struct([("view", pa.string()), ("age_s", pa.float64())])),
    "context": pa.list_(pa.float64()),
}


_UNIQUE = ("event_id", "exposure_id", "unit", "image_key")
"""Texts of which there are about as many as rows: a dictionary of them would be for nothing."""


class Layout:
    """How the rows of a table become the columns of a file."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.columns = list(table.columns)
        self.repeated = [column.name for column in self.columns if _is_repeated(column)]
        self._told = {column.name: _KINDS[type(column.type)] for column in self.columns}
        kinds = self._told | {n: kind for n, kind in _SPECIAL_KINDS.items() if n in self._told}
        self.schema = pa.schema([(TIMESTAMP, _INSTANT), *kinds.items()])

    def to_columns(self, lines: bytes) -> pa.Table:
        """Of lines of CSV, one at least, with lists as JSON."""
        options = pv.ConvertOptions(
            column_types=self._told, true_values=["1", "t"], false_values=["0", "f"]
        )
        told = pv.read_csv(
            pa.BufferReader(lines),
            pv.ReadOptions(column_names=list(self._told), block_size=len(lines) + 1),
            pv.ParseOptions(newlines_in_values=True),
            options,
        )
        found = {column.name: _convert(column, told[column.name]) for column in self.columns}
        micros = pc.round(pc.multiply(found["time_s"], 1e6)).cast(pa.int64())
        found[TIMESTAMP] = micros.cast(_INSTANT)
        return pa.table([found[name] for name in self.schema.names], schema=self.schema)


def pack(rows: pa.Table, layout: Layout) -> bytes:
    """As a file."""
    sink = pa.BufferOutputStream()
    options = {"compression": "zstd", "use_dictionary": layout.repeated}
    pq.write_table(rows, sink, row_group_size=len(rows), **options)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _is_repeated(column: Column[Any]) -> bool:
    return isinstance(column.type, Text) and column.name not in _UNIQUE


def _convert(column: Column[Any], told: pa.ChunkedArray) -> pa.Array:
    array = told.combine_chunks()
    if isinstance(column.type, JSON):
        return _parse(array, _SPECIAL_KINDS[column.name])
    return array.view(pa.uint64()) if column.name == "seed" else array


def _parse(texts: pa.StringArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Each distinct one once."""
    distinct = texts.dictionary_encode()
    objects = pc.binary_join_element_wise('{"it":', distinct.dictionary, "}", "")
    every = pa.ListArray.from_arrays(pa.array([0, len(objects)], pa.int32()), objects)
    lines = pc.binary_join(every, "\n")[0].as_buffer()
    options = pj.ParseOptions(explicit_schema=pa.schema([("it", kind)]))
    read_options = pj.ReadOptions(block_size=lines.size + 1)
    parsed = pj.read_json(pa.BufferReader(lines), read_options, options)
    return parsed["it"].take(distinct.indices)
