"""Which arm a shopper was given, over restarts and for all servers of a database.

Read while a request waits, written soon after by a thread of its own. What can't be read or written
is done without: the arm is chosen anew, by the weights of then.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from itertools import islice
from operator import itemgetter

from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from server import logs
from server.database import is_sqlite, writing
from server.experiments.event_log.tables import sticky_buckets
from server.experiments.sticky import Bucket

MAX_WAITING = 50_000
"""Units of which something is not written yet; those of further ones are lost."""

_PAUSE_S = 0.2
_MAX_GROUP = 5_000

log = logs.logger(__name__)


class StickyBuckets:
    """A `server.experiments.sticky.StickyStore`, callable from any thread."""

    def __init__(self, engine: Engine, turn: AbstractContextManager[object] | None = None) -> None:
        self._engine, self._turn = engine, turn
        self._waiting: dict[str, dict[str, Bucket]] = {}
        self._changing = threading.Lock()
        self._closed = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="sticky buckets", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Writes what waits still."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def get(self, unit: str) -> Mapping[str, Bucket]:
        columns = sticky_buckets.c.slot, sticky_buckets.c.arm, sticky_buckets.c.propensity
        query = select(*columns).where(sticky_buckets.c.unit == unit)
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(query).all()
        except SQLAlchemyError as error:
            self._tell(error)
            rows = []
        with self._changing:
            waiting = dict(self._waiting.get(unit, {}))
        return waiting | {row.slot: Bucket(row.arm, row.propensity) for row in rows}

    def put(self, unit: str, slot: str, bucket: Bucket) -> None:
        with self._changing:
            if unit in self._waiting or len(self._waiting) < MAX_WAITING:
                self._waiting.setdefault(unit, {}).setdefault(slot, bucket)

    def drop(self, unit: str) -> None:
        """What waits of this unit is not written any more."""
        with self._changing:
            self._waiting.pop(unit, None)

    def _run(self) -> None:
        while not self._closed.wait(_PAUSE_S):
            self._write()
        while self._waiting and self._write():
            pass

    def _write(self) -> bool:
        """The buckets of those who wait longest; whether they are written."""
        with self._changing:
            group = {unit: dict(slots) for unit, slots in islice(self._waiting.items(), _MAX_GROUP)}
        if not group:
            return True
        # In one order for all who write, so that none wait for each other.
        rows = [
            {"unit": unit, "slot": slot, "arm": bucket.arm, "propensity": bucket.propensity}
            for unit, slots in sorted(group.items(), key=itemgetter(0))
            for slot, bucket in sorted(slots.items(), key=itemgetter(0))
        ]
        insert = sqlite.insert if is_sqlite(self._engine) else postgresql.insert
        try:
            with writing(self._engine, self._turn) as connection:
                connection.execute(insert(sticky_buckets).on_conflict_do_nothing(), rows)
        except SQLAlchemyError as error:
            self._tell(error)  # and the next time again
            return False
        self._is_failing = False
        self._forget(group)
        return True

    def _forget(self, written: Mapping[str, Mapping[str, Bucket]]) -> None:
        with self._changing:
            for unit, slots in written.items():
                left = self._waiting.get(unit, {})
                for slot in slots:
                    left.pop(slot, None)
                if not left:
                    self._waiting.pop(unit, None)

    def _tell(self, error: Exception) -> None:
        if not self._is_failing:
            log.error("sticky buckets can't be read or written", exc_info=error)
        self._is_failing = True
