"""What goes: events of long ago, and those of a shopper who is to be forgotten.

Both in small pieces, each a transaction of its own, so that nobody who writes waits for long. They
block, and raise sqlalchemy.exc.SQLAlchemyError where the database does not answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, Row, Table, delete, select

from server.database import is_sqlite, move_log, writing
from server.experiments.event_log.tables import event_ids, exposures, outcomes, sticky_buckets

PIECE = 500
"""Rows of a transaction."""
UNITS = 5_000
"""Shoppers of a query."""
T = TypeVar("T")
Turn = AbstractContextManager[object]
Found = Sequence[Row[Any, Any, Any]]
"""Rows of which key and event_id are known."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Rows that went."""

    num_exposures: int
    num_outcomes: int
    num_sticky_buckets: int


def expire(engine: Engine, before_s: float, turn: Turn | None = None) -> int:
    """Deletes one piece of what was received before then; how many rows, 0 when nothing is left."""
    count = 0
    for table in (exposures, outcomes):
        # Rows came in about the order of their keys: the oldest are the first.
        columns = table.c.key, table.c.event_id, table.c.received_s
        with engine.connect() as connection:
            rows = connection.execute(select(*columns).order_by(table.c.key).limit(PIECE)).all()
        count += _delete(engine, table, [r for r in rows if r.received_s < before_s], turn)
    return count


def forget(engine: Engine, units: Collection[str], turn: Turn | None = None) -> Forgotten:
    """Deletes all that there is of these pseudonyms by now. What was exported is not touched."""
    named = set(units) - {""}
    num_exposures, num_outcomes = (
        sum(_delete(engine, table, rows, turn) for rows in _find(engine, table, named))
        for table in (exposures, outcomes)
    )
    num_buckets = 0
    for piece in _split(sorted(named), UNITS):
        gone = delete(sticky_buckets).where(sticky_buckets.c.unit.in_(piece))
        with writing(engine, turn) as connection:
            num_buckets += connection.execute(gone).rowcount
    if is_sqlite(engine):
        with turn or nullcontext():
            move_log(engine, "TRUNCATE")  # what they were is in the log still
    return Forgotten(num_exposures, num_outcomes, num_buckets)


def _find(engine: Engine, table: Table, units: set[str]) -> Iterator[Found]:
    """Rows of these units, a piece at a time."""
    for piece in _split(sorted(units), UNITS):
        query = select(table.c.key, table.c.event_id, table.c.unit).where(table.c.unit.in_(piece))
        with engine.connect() as connection:
            rows = connection.execute(query).all()
        yield from _split(rows)


def _delete(engine: Engine, table: Table, rows: Found, turn: Turn | None) -> int:
    if not rows:
        return 0
    ids, keys = [row.event_id.encode() for row in rows], [row.key for row in rows]
    with writing(engine, turn) as connection:
        connection.execute(delete(event_ids).where(event_ids.c.event_id.in_(ids)))
        return connection.execute(delete(table).where(table.c.key.in_(keys))).rowcount


def _split(items: Sequence[T], num: int = PIECE) -> Iterator[Sequence[T]]:
    return (items[start : start + num] for start in range(0, len(items), num))
