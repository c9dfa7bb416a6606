"""All that waits, in one transaction after the other, on a thread of its own.

A commit takes as long for one event as for hundreds: who comes while one is under way shares the
next.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from server import logs
from server.database import is_disk_full, may_pass, writing
from server.errors import Overloaded, Unavailable
from server.experiments.event_log.checkpoints import Checkpoints
from server.experiments.event_log.keeping import keep
from server.experiments.events import Event, Receipt

MAX_GROUP = 5_000
"""Events of a transaction; a batch is not split."""

_TRIES = 3
_RETRY_AFTER_S = 1.0

_MISFITS = (IntegrityError, DataError, sqlite3.IntegrityError, sqlite3.DataError)
"""What a database says of rows. All else that it says means that it can't be spoken to."""

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    events: Sequence[Event]
    receipt: Future[Receipt] = field(default_factory=Future)


class Writer:
    """Callable from any thread."""

    def __init__(
        self,
        engine: Engine,
        turn: threading.Lock,
        max_waiting: int,
        clock: Callable[[], float] = time.time,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """At most `max_waiting` events wait, and more only where one batch has more."""
        self._engine, self._turn, self._clock = engine, turn, clock
        self._max_waiting, self._checkpoints = max_waiting, checkpoints
        self._waiting: deque[_Batch] = deque()
        self._num_waiting = 0
        self._news = threading.Condition()
        self._is_closed = self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    @property
    def num_waiting(self) -> int:
        return self._num_waiting

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Writes what waits still; what can't be written by then is not acknowledged."""
        with self._news:
            self._is_closed = True
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        with self._news:
            left = self._take()
        _fail(left, Unavailable("the server is stopping", "STOPPING"))

    def submit(self, events: Sequence[Event]) -> Future[Receipt]:
        """Raises Overloaded where too many wait, Unavailable once closed."""
        batch = _Batch(events)
        with self._news:
            if self._is_closed:
                raise Unavailable("the server is stopping", "STOPPING")
            if self._waiting and self._num_waiting + len(events) > self._max_waiting:
                raise Overloaded(_RETRY_AFTER_S)
            self._waiting.append(batch)
            self._num_waiting += len(events)
            self._news.notify()
        return batch.receipt

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._is_closed)
                batches = self._take(MAX_GROUP)
                if not batches and not self._waiting:
                    return
            self._write(batches)

    def _take(self, num_events: float = math.inf) -> list[_Batch]:
        """The first that wait, of whom nobody has left."""
        batches: list[_Batch] = []
        while self._waiting and num_events > 0:
            batch = self._waiting.popleft()
            self._num_waiting -= len(batch.events)
            if batch.receipt.set_running_or_notify_cancel():
                batches.append(batch)
                num_events -= len(batch.events)
        return batches

    def _write(self, batches: Sequence[_Batch]) -> None:
        """Whoever wants what can't be written is told so alone."""
        try:
            new = self._commit([event for batch in batches for event in batch.events])
        except Exception as error:
            is_silence = isinstance(error, SQLAlchemyError | sqlite3.Error)
            if is_silence and not isinstance(error, _MISFITS):
                _fail(batches, self._explain(error))
            elif len(batches) == 1:
                _fail(batches, error)
            else:
                for batch in batches:
                    self._write([batch])
        else:
            self._is_failing = False
            if self._checkpoints is not None:
                self._checkpoints.count(len(new))
            for batch in batches:
                mine = new.intersection(event.event_id for event in batch.events)
                new -= mine
                batch.receipt.set_result(Receipt(len(mine), len(batch.events) - len(mine)))

    def _commit(self, events: Sequence[Event]) -> set[str]:
        """The ids of those that are new."""
        for tries_left in reversed(range(_TRIES)):
            try:
                with writing(self._engine, self._turn) as connection:
                    return keep(connection, events, self._clock())
            except DBAPIError as error:
                if not tries_left or not may_pass(error):
                    raise
        raise AssertionError

    def _explain(self, error: Exception) -> Unavailable:
        if not self._is_failing:  # once, not for each that comes
            log.error("events can't be kept", exc_info=error)
        self._is_failing = True
        if is_disk_full(error):
            text = "no space is left for events"
            return Unavailable(text, "EVENTS_DISK_FULL")
        return Unavailable("events can't be kept now", "EVENTS_UNAVAILABLE")


def _fail(batches: Sequence[_Batch], error: Exception) -> None:
    for batch in batches:
        batch.receipt.set_exception(error)
