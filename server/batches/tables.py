"""The tables of batches, in SQLite or whatever else SQLAlchemy speaks to."""

from __future__ import annotations

from contextlib import suppress

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
)
from sqlalchemy.exc import DBAPIError

from server.database import open_engine

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


shoppers = Table(
    "etalage_batch_shoppers",
    metadata,
    Column("batch_key", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("shopper", String(32), nullable=False, index=True),  # as features.tombstones names them
    Column("name", String(128), nullable=False),
    Column("output_folder", String(512), nullable=False),
)


def open_database(url: str | URL) -> Engine:
    """Creates what is missing. Raises sqlalchemy.exc.SQLAlchemyError, OSError."""
    engine = open_engine(url)
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
