"""A shopper's requests, and the images that were made for them, out of all batches.

Which requests are whose is kept under a keyed hash, beside the batches and for longer than they are
remembered, as their images stay. Functions block, and raise sqlalchemy.exc.SQLAlchemyError and
server.bulk.store.StoreFailed.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Engine, Row, and_, delete, or_, select, update

from server.batches.tables import FAILED, PENDING, batches, requests, shoppers
from server.batches.worker import locate
from server.bulk.journal import FOLDER
from server.bulk.manifest import write_outcome
from server.bulk.record import IMAGES, Failure, Record, name_image
from server.bulk.shard import Shard
from server.bulk.store import Store
from server.database import is_sqlite, move_log, writing

ERASED = Failure("FAILED_PRECONDITION", "SHOPPER_ERASED", "its shopper was erased")

_MIME_TYPES = "image/png", "image/webp", "image/jpeg"
_NUMBERS = (None, *range(10))

Theirs = Row[Any]
"""Of `shoppers`."""


def list_requests(engine: Engine, shopper: str) -> list[Theirs]:
    query = select(shoppers).where(shoppers.c.shopper == shopper)
    ordered = query.order_by(shoppers.c.output_folder, shoppers.c.number)
    with engine.connect() as connection:
        return list(connection.execute(ordered).all())


def erase_requests(engine: Engine, root: str, shopper: str, *, is_last: bool) -> tuple[int, int]:
    """How many requests and images went. What is being made meanwhile is found by asking again:
    till then, where this is not the last time, it stays known whose the requests were."""
    found = list_requests(engine, shopper)
    num_requests = num_images = 0
    for folder, group in groupby(found, attrgetter("output_folder")):
        rows = list(group)
        num_requests += _erase_rows(engine, rows)
        num_images += _erase_images(engine, root, folder, rows)
    if is_last:
        with writing(engine) as connection:
            connection.execute(delete(shoppers).where(shoppers.c.shopper == shopper))
    if is_sqlite(engine):
        move_log(engine, "TRUNCATE")  # what answered requests said may be in the log still
    return num_requests, num_images


def _erase_rows(engine: Engine, rows: Collection[Theirs]) -> int:
    """How many said something still. They count as they did; what waits has failed."""
    now_s = time.time()
    num_failed = num_erased = 0
    with writing(engine) as connection:
        for row in rows:
            line = Record(row.name, row.number, "", failure=ERASED).to_line()
            here = and_(requests.c.batch_key == row.batch_key, requests.c.number == row.number)
            waiting = update(requests).where(here, requests.c.state == PENDING)
            told = {"state": FAILED, "done_s": now_s}
            num_failed += connection.execute(waiting.values(**told)).rowcount
            says_something = or_(requests.c.record.is_(None), requests.c.record != line)
            gone = {"content": b"", "record": line, "num_images": 0}
            erasing = update(requests).where(here, says_something).values(**gone)
            num_erased += connection.execute(erasing).rowcount
        if num_failed:
            key = next(iter(rows)).batch_key
            told_batch = update(batches).where(batches.c.key == key)
            counted = {"num_failed": batches.c.num_failed + num_failed, "update_s": now_s}
            connection.execute(told_batch.values(**counted))
    return num_erased


def _erase_images(engine: Engine, root: str, folder: str, rows: Collection[Theirs]) -> int:
    store = Store(locate(root, folder))
    names = {row.name for row in rows}
    theirs = {
        name_image(name, number, mime)
        for name in names
        for number in _NUMBERS
        for mime in _MIME_TYPES
    }
    images = theirs.intersection(store.list_files(IMAGES))
    for path in sorted(images):
        store.remove(path)
    query = select(batches.c.is_closed).where(batches.c.key == next(iter(rows)).batch_key)
    with engine.connect() as connection:
        is_closed = connection.execute(query).scalar()
    if is_closed is not False:  # else its files are not written yet
        _rewrite_files(store, names)
    return len(images)


def _rewrite_files(store: Store, names: Collection[str]) -> None:
    journals = [path for path in store.list_files(FOLDER) if path.endswith(".jsonl")]
    for path in journals:
        lines = [
            line for line in store.read_lines(path) if Record.from_line(line).name not in names
        ]
        store.write(path, b"".join(lines))
    if journals:
        write_outcome(store, Shard())
