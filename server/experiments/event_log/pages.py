"""Rows as lines of CSV, which both databases can write by themselves and Arrow reads: millions of
them, and none becomes an object of Python's."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from sqlalchemy import JSON, Column, Connection, Double, Engine, Text

from server.database import is_sqlite
from server.experiments.event_log.parquet import Layout


def read_page(engine: Engine, layout: Layout, first: int, last: int) -> pa.Table:
    """The rows with keys from `first` to `last`, in order."""
    rows = f"FROM {layout.table.name} WHERE key BETWEEN {first:d} AND {last:d} ORDER BY key"
    with engine.connect() as connection:
        read = _read_from_sqlite if is_sqlite(engine) else _read_from_postgresql
        lines = read(connection, layout, rows)
    return layout.to_columns(lines) if lines else layout.schema.empty_table()


def _read_from_sqlite(connection: Connection, layout: Layout, rows: str) -> bytes | None:
    places = ",".join(_place(column) for column in layout.columns)
    values = ", ".join(column.name for column in layout.columns)
    lines = f"SELECT printf('{places}', {values}) AS line {rows}"
    query = f"SELECT CAST(group_concat(line, char(10)) AS BLOB) FROM ({lines})"
    found: bytes | None = connection.exec_driver_sql(query).scalar()
    return found


def _read_from_postgresql(connection: Connection, layout: Layout, rows: str) -> bytes | None:
    values = ", ".join(column.name for column in layout.columns)
    cursor: Any = connection.connection.cursor()
    with cursor.copy(f"COPY (SELECT {values} {rows}) TO STDOUT (FORMAT csv)") as copy:
        lines = b"".join(copy)
    cursor.close()
    return lines


def _place(column: Column[Any]) -> str:
    """In printf of SQLite: text with its quotes doubled, numbers with all their digits."""
    if isinstance(column.type, Text | JSON):
        return '"%w"'
    return "%!.19g" if isinstance(column.type, Double) else "%d"
