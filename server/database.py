"""Databases: SQLite in a file, PostgreSQL, or whatever else SQLAlchemy speaks to."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError

BUSY_TIMEOUT_S = 30.0
_CLOSE_S = 5.0

_LIBPQ = ("psycopg", "psycopg2")
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""After how long a host that went without a word counts as gone; as libpq has them."""
_DISK_FULL = "53100"
_MAY_PASS = ("23505", "40001", "40P01")
"""Somebody else was faster, or both waited for each other: the same again will do."""


def open_engine(url: str | URL) -> Engine:
    """Opens no connection yet. Raises sqlalchemy.exc.ArgumentError, ImportError, OSError."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite"
    if is_file and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    arguments: dict[str, Any] = {"timeout": BUSY_TIMEOUT_S} if is_file else {}
    if parsed.get_driver_name() in _LIBPQ:
        arguments = {name: _PATIENCE[name] for name in _PATIENCE if name not in parsed.query}
    engine = create_engine(
        parsed,
        connect_args=arguments,
        pool_pre_ping=not is_file,
        hide_parameters=True,  # they say who asked, and errors are logged
    )
    if is_file:
        event.listen(engine, "connect", _make_durable)
    return engine


async def close(engine: Engine) -> None:
    """A thread that was left alone may still hold a connection: waits for it, for a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            while isinstance(pool := engine.pool, QueuePool) and pool.checkedout():
                await asyncio.sleep(0.01)
    engine.dispose()


def is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


@contextmanager
def writing(
    engine: Engine, turn: AbstractContextManager[object] | None = None
) -> Iterator[Connection]:
    """A transaction that may write from its beginning: in SQLite there is one at a time, and
    threads that share a `turn` wait for each other there rather than look again and again."""
    if not is_sqlite(engine):
        with engine.begin() as connection:
            yield connection
        return
    with turn or nullcontext(), engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.connection.rollback()  # of a transaction that may be over already
            raise


def move_log(engine: Engine, mode: str = "PASSIVE") -> int:
    """Moves what nobody reads from SQLite's log into its file; how many pages the log has."""
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        row = connection.exec_driver_sql(f"PRAGMA wal_checkpoint({mode})").one()
    return int(row[1])


@contextmanager
def alone(engine: Engine, work: str) -> Iterator[None]:
    """Waits until no process that shares the database does that work, and keeps others waiting.
    Ends with the process."""
    if not is_sqlite(engine):
        with engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            number = {"number": number_lock(work)}
            connection.execute(text("SELECT pg_advisory_lock(:number)"), number)
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), number)
    elif file := engine.url.database:
        with Path(f"{file}-{work}").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    else:
        yield  # in memory: nobody shares it


def number_lock(work: str) -> int:
    """Of an advisory lock in PostgreSQL: 64 bits, signed."""
    digest = hashlib.blake2b(f"etalage {work}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def is_disk_full(error: Exception) -> bool:
    cause = _find_cause(error)
    if isinstance(cause, sqlite3.Error):
        full = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
        return getattr(cause, "sqlite_errorcode", None) in full
    return getattr(cause, "sqlstate", None) == _DISK_FULL


def may_pass(error: Exception) -> bool:
    """Whether the same transaction may well do the next time, or is done already: the connection
    broke."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return getattr(_find_cause(error), "sqlstate", None) in _MAY_PASS


def _find_cause(error: Exception) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _make_durable(connection: Any, record: object) -> None:
    """Readers don't wait for the writer, and what was committed survives a power cut."""
    _switch_to_wal(connection)
    for pragma in ("synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: Any) -> None:
    """Of processes that open a new file at once, SQLite refuses all but one without waiting."""
    give_up_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_s:
                raise
        time.sleep(0.01)
