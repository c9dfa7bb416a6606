"""Records, appended: what is in the journal is done, whatever happens to the run after that.

A disk takes lines at the end of one file, synchronized. Object stores can't append: there the
journal is a row of small files, of which the last few seconds may be missing after a crash; what
they had is made again, into the same files.

On a disk a folder is one run's, or that of the shards of one count. Object stores have no locks:
there it is for whoever starts runs to start no two that have rows in common.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path
from typing import Protocol

from server.bulk.record import Record
from server.bulk.shard import Shard
from server.bulk.store import Store, explain

FOLDER = "journal"
_LOCK = ".shards"
_SEGMENT_ROWS = 64
_SEGMENT_S = 5.0


class JournalTaken(RuntimeError):
    """Another run has rows in common with this one."""


class Journal(Protocol):
    def append(self, records: Sequence[Record]) -> None:
        """Raises StoreFailed; then none of them count."""

    def close(self) -> None: ...


class Finished:
    """Names of rows that are done, with the digests of their content: 200 bytes of memory each."""

    def __init__(self, store: Store) -> None:
        self._digests = {
            _shorten(record.name): record.digest
            for record in read_journal(store)
            if record.is_finished
        }

    def __len__(self) -> int:
        return len(self._digests)

    def find(self, name: str) -> str | None:
        """The digest of what was done under that name."""
        return self._digests.get(_shorten(name))


def read_journal(store: Store) -> Iterator[Record]:
    """All that ever ended, failures among it, by all runs; a torn line is none."""
    for path in store.list_files(FOLDER):
        for line in store.read_lines(path):
            try:
                yield Record.from_line(line)
            except (ValueError, TypeError):
                continue


def open_journal(store: Store, shard: Shard | None = None) -> Journal:
    """The shards of one count may write at the same time. Raises JournalTaken, StoreFailed."""
    shard = shard or Shard()
    store.make_folders(FOLDER)
    label = f"rows{shard.suffix}"
    if store.local is None:
        return SegmentJournal(store, label)
    return FileJournal(store.local / FOLDER, label, shard.count)


class FileJournal:
    def __init__(self, folder: Path, label: str, num_shards: int) -> None:
        path = folder / f"{label}.jsonl"
        with ExitStack() as stack:
            try:
                self._lock = stack.enter_context((folder / _LOCK).open("ab+", buffering=0))
                self._file = stack.enter_context(path.open("ab+", buffering=0))
                _share(self._lock, num_shards)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process
            except BlockingIOError as error:
                raise JournalTaken(f"another run writes to {path}") from error
            except OSError as error:
                raise explain(error, str(path)) from error
            self._cut_torn_line()
            stack.pop_all()

    def append(self, records: Sequence[Record]) -> None:
        end = self._file.seek(0, os.SEEK_END)
        data = b"".join(record.to_line() for record in records)
        try:
            while data:  # a raw file may take less than it is given
                data = data[self._file.write(data) :]
            # Journaled file systems keep order: this also makes the images' new names last.
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise explain(error, str(self._file.name)) from error

    def close(self) -> None:
        self._file.close()
        self._lock.close()

    def _cut_torn_line(self) -> None:
        """What a crash left behind the last whole line."""
        end = self._file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            self._file.seek(start)
            part = self._file.read(end - start) or b""
            if (newline := part.rfind(b"\n")) >= 0:
                end = start + newline + 1
                break
            end = start
        self._file.truncate(end)


class SegmentJournal:
    """Rows are told in groups, and what is left when it is closed."""

    def __init__(self, store: Store, label: str) -> None:
        self._store, self._label = store, f"{label}-{time.time_ns():020d}"
        self._lines: list[bytes] = []
        self._number = 0
        self._written_s = time.monotonic()

    def append(self, records: Sequence[Record]) -> None:
        self._lines += (record.to_line() for record in records)
        is_late = time.monotonic() - self._written_s >= _SEGMENT_S
        if is_late or len(self._lines) >= _SEGMENT_ROWS:
            self._write()

    def close(self) -> None:
        if self._lines:
            self._write()

    def _write(self) -> None:
        path = f"{FOLDER}/{self._label}-{self._number:06d}.jsonl"
        self._store.write(path, b"".join(self._lines))
        self._lines, self._number = [], self._number + 1
        self._written_s = time.monotonic()


def _share(lock: FileIO, num_shards: int) -> None:
    """Holds the lock with the shards of the same count alone. Raises JournalTaken, OSError."""
    told = b"%d" % num_shards
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody is there: the count is ours
        lock.truncate(0)
        lock.write(told)
    fcntl.flock(lock, fcntl.LOCK_SH)  # whoever has it alone has it for a moment
    lock.seek(0)
    if (found := lock.read()) != told:
        count = (found or b"").decode(errors="replace")
        rows = "all rows" if count == "1" else f"one of {count} shards"
        folder = Path(str(lock.name)).parent
        raise JournalTaken(f"another run, of {rows}, writes to {folder}")


def _shorten(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
