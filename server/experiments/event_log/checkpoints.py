"""SQLite's write-ahead log, moved into the database file beside the writer.

SQLite by itself has whoever commits do that, now and then, while events wait. Here a thread does it
while others commit. The log can begin anew only when all of it was moved and nobody commits, so
once it is long the thread takes a turn of its own for the little that is left.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from server.database import move_log

NUM_ROWS = 5_000
"""Rows written after which it is worth it."""
LONG = 64_000
"""Pages of a long log: 250 MiB."""

_TOO_LONG = 4 * LONG  # then whoever commits does it, as ever


def postpone(connection: Any, record: object) -> None:
    """A listener to new connections."""
    connection.execute(f"PRAGMA wal_autocheckpoint = {_TOO_LONG}")


class Checkpoints:
    def __init__(self, engine: Engine, turn: threading.Lock) -> None:
        """`turn` is held by whoever writes."""
        self._engine, self._turn = engine, turn
        self._num_rows = 0
        self._news = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        self._is_closed = True
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def count(self, num_rows: int) -> None:
        """So many more were written."""
        self._num_rows += num_rows
        if self._num_rows >= NUM_ROWS:
            self._num_rows = 0
            self._news.set()

    def _run(self) -> None:
        while self._news.wait() and not self._is_closed:
            self._news.clear()
            with suppress(DBAPIError):  # a full disk, say: whoever writes will tell
                if move_log(self._engine) > LONG:
                    with self._turn:
                        move_log(self._engine)
