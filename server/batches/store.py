"""Batches that survive the process, for those who submit, watch and cancel them.

Each method is one transaction. Methods block, may be called from any thread, and raise
sqlalchemy.exc.SQLAlchemyError where the database does not answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Row,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from server.batches.batch import Batch, BatchState, Submission
from server.batches.claims import forget_contents
from server.batches.tables import FAILED, PENDING, batches, requests, shoppers
from server.bulk.record import Record
from server.errors import BatchNotFound, InvalidRequest, Overloaded, Violation

MAX_FAILURES = 20
RATE_WINDOW_S = 30.0

_RUNNING_STATES = (BatchState.PENDING.value, BatchState.RUNNING.value)
_RETRY_AFTER_S = 30.0  # where too many batches wait: they take long


class BatchStore:
    def __init__(
        self,
        engine: Engine,
        max_batches: int = 100,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """At most `max_batches` wait or run at once."""
        self._engine, self._max_batches, self._clock = engine, max_batches, clock
        self._submitting = threading.Lock()

    def close(self) -> None:
        self._engine.dispose()

    def submit(self, submission: Submission) -> tuple[Batch, bool]:
        """The batch, and whether it was known.

        Raises InvalidRequest where its id or its folder is another's, Overloaded where too many
        wait.
        """
        with self._submitting:
            try:
                with self._engine.begin() as connection:
                    if found := self._find(connection, submission):
                        return found, True
                    self._check_room(connection)
                    _check_folder(connection, submission)
                    self._insert(connection, submission)
                    return self._get(connection, submission.batch_id), False
            except IntegrityError:  # another process was faster
                with self._engine.begin() as connection:
                    if found := self._find(connection, submission):
                        return found, True
                    _check_folder(connection, submission)
                raise

    def get(self, batch_id: str) -> Batch:
        """Raises BatchNotFound."""
        with self._engine.begin() as connection:
            return self._get(connection, batch_id)

    def list_page(
        self, num: int, before: int | None = None, prefix: str = ""
    ) -> tuple[list[Batch], int | None]:
        """The youngest first, of those submitted before the key whose ids begin so; and the key of
        the next page."""
        query = select(batches).order_by(batches.c.key.desc()).limit(num + 1)
        if before is not None:
            query = query.where(batches.c.key < before)
        if prefix:
            query = query.where(batches.c.batch_id.startswith(prefix, autoescape=True))
        with self._engine.begin() as connection:
            rows = connection.execute(query).all()
            page = self._show(connection, rows[:num])
        return page, rows[num - 1].key if len(rows) > num else None

    def cancel(self, batch_id: str) -> Batch:
        """One that has ended stays as it is. Raises BatchNotFound."""
        now_s = self._clock()
        running = and_(batches.c.batch_id == batch_id, batches.c.state.in_(_RUNNING_STATES))
        told = {"state": BatchState.CANCELLED.value, "end_s": now_s, "update_s": now_s}
        is_new = and_(running, batches.c.start_s.is_(None))  # there is nothing to be written
        with self._engine.begin() as connection:
            connection.execute(update(batches).where(is_new).values(is_closed=True, **told))
            connection.execute(update(batches).where(running).values(**told))
            batch = self._get(connection, batch_id)
            if batch.is_closed:
                forget_contents(connection, batch_id)
        return batch

    def expire(self, keep_s: float) -> int:
        """Forget batches that ended that long ago; how many."""
        old = and_(batches.c.is_closed.is_(True), batches.c.end_s < self._clock() - keep_s)
        theirs = requests.c.batch_key.in_(select(batches.c.key).where(old))
        with self._engine.begin() as connection:
            connection.execute(delete(requests).where(theirs))
            return connection.execute(delete(batches).where(old)).rowcount

    def _find(self, connection: Connection, submission: Submission) -> Batch | None:
        here = batches.c.batch_id == submission.batch_id
        digest = connection.execute(select(batches.c.digest).where(here)).scalar()
        if digest is None:
            return None
        if digest != submission.digest:
            text = "was used before for a batch with other content"
            raise InvalidRequest(Violation("request_id", text), reason="REQUEST_ID_REUSED")
        return self._get(connection, submission.batch_id)

    def _check_room(self, connection: Connection) -> None:
        query = select(func.count()).select_from(batches).where(batches.c.is_closed.is_(False))
        if (connection.execute(query).scalar() or 0) >= self._max_batches:
            raise Overloaded(_RETRY_AFTER_S)

    def _insert(self, connection: Connection, submission: Submission) -> None:
        now_s = self._clock()
        result = connection.execute(
            insert(batches).values(
                batch_id=submission.batch_id,
                digest=submission.digest,
                state=BatchState.PENDING.value,
                output_folder=submission.output_folder,
                num_requests=len(submission.requests),
                create_s=now_s,
                update_s=now_s,
            )
        )
        assert result.inserted_primary_key is not None
        key = result.inserted_primary_key[0]
        rows = [
            {
                "batch_key": key,
                "number": request.number,
                "name": request.name,
                "content": request.content,
                "state": PENDING,
            }
            for request in submission.requests
        ]
        connection.execute(insert(requests), rows)
        _note_shoppers(connection, key, submission)

    def _get(self, connection: Connection, batch_id: str) -> Batch:
        query = select(batches).where(batches.c.batch_id == batch_id)
        if (row := connection.execute(query).first()) is None:
            raise BatchNotFound(batch_id)
        return self._show(connection, [row])[0]

    def _show(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[Batch]:
        failures = _first_failures(connection, [row.key for row in rows if row.num_failed])
        running = [row for row in rows if row.state == BatchState.RUNNING.value]
        rates = {row.key: self._rate(connection, row) for row in running}
        return [
            Batch(
                batch_id=row.batch_id,
                state=BatchState(row.state),
                num_requests=row.num_requests,
                num_succeeded=row.num_succeeded,
                num_failed=row.num_failed,
                create_s=row.create_s,
                update_s=row.update_s,
                end_s=row.end_s,
                output_folder=row.output_folder,
                images_per_second=rates.get(row.key, 0.0),
                failures=tuple(failures.get(row.key, ())),
                is_closed=row.is_closed,
            )
            for row in rows
        ]

    def _rate(self, connection: Connection, row: Row[Any]) -> float:
        """Images per second of the last while, or since it started."""
        now_s = self._clock()
        since_s = max(now_s - RATE_WINDOW_S, row.start_s)
        recent = and_(requests.c.batch_key == row.key, requests.c.done_s >= since_s)
        query = select(func.sum(requests.c.num_images)).where(recent)
        num_images = connection.execute(query).scalar() or 0
        return float(num_images / max(now_s - since_s, 1.0))


def _note_shoppers(connection: Connection, key: int, submission: Submission) -> None:
    """Whose the requests are, for server/batches/erasing.py."""
    rows = [
        {
            "batch_key": key,
            "number": request.number,
            "shopper": request.shopper,
            "name": request.name,
            "output_folder": submission.output_folder,
        }
        for request in submission.requests
        if request.shopper
    ]
    if rows:
        connection.execute(insert(shoppers), rows)


def _check_folder(connection: Connection, submission: Submission) -> None:
    """Raises InvalidRequest where another batch's files would be in the way."""
    folder = submission.output_folder
    parts = folder.split("/")
    above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    column = batches.c.output_folder
    taken = or_(column.in_(above), column.startswith(f"{folder}/", autoescape=True))
    is_other = batches.c.batch_id != submission.batch_id  # the same one may have come just now
    query = select(batches.c.batch_id).where(taken, is_other).limit(1)
    if (batch_id := connection.execute(query).scalar()) is not None:
        text = f"{folder[:40]!r} is, holds or lies in the folder of batch {batch_id[:40]!r}"
        raise InvalidRequest(Violation("output_folder", text))


def _first_failures(connection: Connection, keys: Collection[int]) -> dict[int, list[Record]]:
    if not keys:
        return {}
    place = func.row_number().over(partition_by=requests.c.batch_key, order_by=requests.c.number)
    failed = and_(requests.c.batch_key.in_(keys), requests.c.state == FAILED)
    numbered = select(requests, place.label("place")).where(failed).subquery()
    query = (
        select(numbered.c.batch_key, numbered.c.record)
        .where(numbered.c.place <= MAX_FAILURES)
        .order_by(numbered.c.batch_key, numbered.c.place)
    )
    found: dict[int, list[Record]] = {}
    for key, line in connection.execute(query):
        found.setdefault(key, []).append(Record.from_line(line))
    return found
