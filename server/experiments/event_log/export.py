"""Parquet for warehouse and analysis, a part at a time.

Parts are `exposures/<first>-<last>.parquet` and `outcomes/…`, by the keys that they cover. A part
is written whole, never changed and never written twice: the next export goes on behind the last
one, and whoever loads parts into a warehouse loads each name once.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Engine, Table, func, select, text

from server.bulk.store import Store
from server.database import alone, is_sqlite
from server.errors import FailedPrecondition
from server.experiments.event_log.keeping import WRITING
from server.experiments.event_log.pages import read_page
from server.experiments.event_log.parquet import Layout, pack
from server.experiments.event_log.tables import exposures, outcomes

PART_KEYS = 250_000
"""Of a part: as many rows, where none is gone."""
PAGE_KEYS = 10_000
"""Read at once: a reader in SQLite keeps its log from beginning anew."""
NUM_THREADS = 2
"""Almost all that they do is done outside of Python."""

TABLES: Mapping[str, Table] = {"exposures": exposures, "outcomes": outcomes}

_PART = re.compile(r"(\d{19})-(\d{19})\.parquet")


def export(engine: Engine, folder: str | Path) -> int:
    """Everything that is not there yet; how many events. `folder` is a path or an fsspec URL.

    One export of a database runs at a time, another waits. Blocks. Raises StoreFailed,
    FailedPrecondition where the folder is another database's, and SQLAlchemy's errors.
    """
    store = Store(str(folder))
    store.make_folders(*TABLES)
    num_events = 0
    with alone(engine, "export"):
        ends = find_ends(engine)
        for name in TABLES:
            last = find_last(store, name)
            if last > ends[name]:
                raise FailedPrecondition(
                    f"{store.locate(name)} holds events up to number {last}, of which this "
                    f"database gave {ends[name]}: they are another's",
                    "EXPORT_OF_ANOTHER_DATABASE",
                )
            num_events += write_parts(engine, store, name, last + 1, ends[name])
    return num_events


def find_ends(engine: Engine) -> dict[str, int]:
    """The keys up to which nothing will appear any more: all that were given so far."""
    if is_sqlite(engine):
        query = text("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = :table")
    else:
        sequence = "CAST(pg_get_serial_sequence(:table, 'key') AS regclass)"
        query = text(f"SELECT coalesce(pg_sequence_last_value({sequence}), 0)")
    with engine.begin() as connection:
        if not is_sqlite(engine):
            # Keys are given before the commit: wait for those who have one, for a moment.
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            take = text("SELECT pg_advisory_xact_lock(:number)")
            connection.execute(take, {"number": WRITING})
        return {
            name: connection.execute(query, {"table": table.name}).scalar_one()
            for name, table in TABLES.items()
        }


def find_last(store: Store, name: str) -> int:
    """The last key of the last part."""
    found = (_PART.fullmatch(Path(path).name) for path in store.list_files(name))
    return max((int(match[2]) for match in found if match), default=0)


def write_parts(engine: Engine, store: Store, name: str, first: int, last: int) -> int:
    """In order, so that what is missing is at the end; how many rows."""
    layout = Layout(TABLES[name])
    num_rows = 0
    with ThreadPoolExecutor(NUM_THREADS, "export") as threads:
        for begin, end, pages in read_parts(engine, layout, first, last, threads):
            rows = pa.concat_tables([page.result() for page in pages])
            if len(rows):
                store.put(f"{name}/{begin:019d}-{end:019d}.parquet", pack(rows, layout))
            num_rows += len(rows)
    return num_rows


def read_parts(
    engine: Engine, layout: Layout, first: int, last: int, threads: Executor
) -> Iterator[tuple[int, int, list[Future[pa.Table]]]]:
    """The first and the last key of each, and its pages: while one is written, the next is read."""
    ahead: deque[tuple[int, int, list[Future[pa.Table]]]] = deque()
    for begin in range(find_first(engine, layout.table, first), last + 1, PART_KEYS):
        end = min(begin + PART_KEYS - 1, last)
        pages = [
            threads.submit(read_page, engine, layout, start, min(start + PAGE_KEYS - 1, end))
            for start in range(begin, end + 1, PAGE_KEYS)
        ]
        ahead.append((begin, end, pages))
        if len(ahead) > 1:
            yield ahead.popleft()
    yield from ahead


def find_first(engine: Engine, table: Table, first: int) -> int:
    """Where there is something again: what is gone is not looked for."""
    with engine.connect() as connection:
        query = select(func.min(table.c.key)).where(table.c.key >= first)
        found: int | None = connection.execute(query).scalar()
    return sys.maxsize if found is None else found
