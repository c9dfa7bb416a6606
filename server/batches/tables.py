"""The tables of batches, in SQLite or whatever else SQLAlchemy speaks to."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Boolean,
    Column,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import DBAPIError

BUSY_TIMEOUT_S = 30.0

PENDING, SUCCEEDED, FAILED = "pending", "succeeded", "failed"
"""States of a request."""

metadata = MetaData()

batches = Table(
    "etalage_batches",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("batch_id", String(128), nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("output_folder", String(512), nullable=False, unique=True),
    Column("num_requests", Integer, nullable=False),
    Column("num_succeeded", Integer, nullable=False, default=0),
    Column("num_failed", Integer, nullable=False, default=0),
    Column("create_s", Double, nullable=False),
    Column("start_s", Double),
    Column("update_s", Double, nullable=False),
    Column("end_s", Double),
    Column("is_closed", Boolean, nullable=False, default=False),
    Column("owner", String(64)),  # the process that works on it, until then
    Column("lease_end_s", Double, nullable=False, default=0.0),
    sqlite_autoincrement=True,  # keys are never used again: tokens of pages stay right
)

requests = Table(
    "etalage_batch_requests",
    metadata,
    Column("batch_key", ForeignKey(batches.c.key), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(128), nullable=False),
    Column("content", LargeBinary, nullable=False),  # empty once answered
    Column("state", String(16), nullable=False),
    Column("done_s", Double),
    Column("num_images", Integer, nullable=False, default=0),
    Column("record", LargeBinary),  # server.bulk.record.Record
    Index("etalage_batch_requests_by_state", "batch_key", "state", "number"),
    Index("etalage_batch_requests_by_time", "batch_key", "done_s"),
)


def open_database(url: str | URL) -> Engine:
    """Creates what is missing. Raises sqlalchemy.exc.SQLAlchemyError, OSError."""
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"timeout": BUSY_TIMEOUT_S} if is_sqlite else {}
    engine = create_engine(
        parsed,
        connect_args=arguments,
        pool_pre_ping=not is_sqlite,
        hide_parameters=True,  # they say who asked, and errors are logged
    )
    if is_sqlite:
        event.listen(engine, "connect", _make_durable)
    _create_tables(engine)
    return engine


def _create_tables(engine: Engine) -> None:
    """Processes that start at the same moment create the same: each table is one's, and an error
    for the others."""
    for _ in metadata.tables:
        with engine.connect() as connection, suppress(DBAPIError):
            metadata.create_all(connection)
            connection.commit()
            return
    metadata.create_all(engine)


def _make_durable(connection: Any, record: object) -> None:
    """Readers don't wait for the writer, and what was committed survives a power cut."""
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
