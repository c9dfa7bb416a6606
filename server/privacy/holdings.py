"""What the databases of events and batches hold of a shopper, for them to read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Table, select

from server.batches.erasing import list_requests
from server.experiments.event_log.tables import exposures, outcomes, sticky_buckets

MAX_ROWS = 20_000
"""Of one table."""


class HoldingsTooLarge(ValueError):
    """Says of which there is too much."""


def list_events(engine: Engine, unit: str) -> dict[str, list[dict[str, Any]]]:
    """Rows as they are, by table. Raises HoldingsTooLarge, SQLAlchemyError."""
    tables = {"exposures": exposures, "outcomes": outcomes, "sticky_buckets": sticky_buckets}
    return {name: _list(engine, name, table, unit) for name, table in tables.items()}


def list_batches(engine: Engine, name: str) -> list[dict[str, Any]]:
    """Requests of batches that name them."""
    return [
        {"output_folder": each.output_folder, "request": each.name}
        for each in list_requests(engine, name)
    ]


def _list(engine: Engine, name: str, table: Table, unit: str) -> list[dict[str, Any]]:
    query = select(table).where(table.c.unit == unit).limit(MAX_ROWS + 1)
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    if len(rows) > MAX_ROWS:
        raise HoldingsTooLarge(f"there are more than {MAX_ROWS} {name}")
    return rows
