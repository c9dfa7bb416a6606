"""What is in the journal is done, whatever happens after that."""

import errno
import itertools
import os

import pytest

from server.bulk import journal as journals
from server.bulk.journal import Finished, JournalTaken, open_journal, read_journal
from server.bulk.record import Failure, Record
from server.bulk.store import Store, StoreFailed

FAILURE = Failure("NOT_FOUND", "PRODUCT_NOT_FOUND", "no product")
numbers = itertools.count()


def record(name, digest="d1", failure=None):
    return Record(name, 1, digest, failure=failure)


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    is_disk = request.param == "disk"
    return Store(str(tmp_path) if is_disk else f"memory://journal-{next(numbers)}")


@pytest.fixture
def disk(tmp_path):
    return Store(str(tmp_path))


def names(store):
    return [each.name for each in read_journal(store)]


def test_what_was_appended_is_there_for_the_next_run_and_failures_are_not_finished(store):
    for run in ("a", "b"):
        journal = open_journal(store, "rows")
        journal.append([record(f"{run}1"), record(f"{run}2", failure=FAILURE)])
        journal.append([record(f"{run}3", "d3")])
        journal.close()
    assert names(store) == ["a1", "a2", "a3", "b1", "b2", "b3"]
    finished = Finished(store)
    assert len(finished) == 4
    assert (finished.find("a1"), finished.find("b3"), finished.find("a2")) == ("d1", "d3", None)


def test_journals_of_shards_are_read_as_one(store):
    for label in ("rows-1-of-2", "rows-2-of-2"):
        journal = open_journal(store, label)
        journal.append([record(label)])
        journal.close()
    assert names(store) == ["rows-1-of-2", "rows-2-of-2"]


def test_a_store_without_a_journal_has_nothing(store):
    assert not names(store) and not len(Finished(store))


@pytest.mark.parametrize("torn", [b'{"name":"b","number":1,"dig', b"x" * 200_000])
def test_a_torn_line_is_cut_off_before_the_next_is_written(disk, torn):
    journal = open_journal(disk, "rows")
    journal.append([record("a")])
    journal.close()
    file = disk.local / "journal" / "rows.jsonl"
    with file.open("ab") as end:
        end.write(torn)
    assert names(disk) == ["a"]
    journal = open_journal(disk, "rows")
    journal.append([record("c")])
    journal.close()
    assert names(disk) == ["a", "c"] and torn not in file.read_bytes()


def test_a_file_of_nothing_but_a_torn_line_becomes_empty(disk):
    disk.make_folders("journal")
    file = disk.local / "journal" / "rows.jsonl"
    file.write_bytes(b"x" * 100_000)
    open_journal(disk, "rows").close()
    assert file.read_bytes() == b""


def test_two_runs_can_not_write_to_one_journal(disk):
    first = open_journal(disk, "rows")
    with pytest.raises(JournalTaken, match="another run writes to"):
        open_journal(disk, "rows")
    other = open_journal(disk, "rows-1-of-2")
    first.close()
    open_journal(disk, "rows").close()
    other.close()


def test_lines_are_on_the_disk_before_they_count(disk, monkeypatch):
    synchronized: list[int] = []
    monkeypatch.setattr(os, "fsync", synchronized.append)
    journal = open_journal(disk, "rows")
    journal.append([record("a"), record("b")])
    assert len(synchronized) == 1, "once for all of them"
    journal.close()


def test_where_the_disk_is_full_nothing_of_the_group_is_left(disk, monkeypatch):
    journal = open_journal(disk, "rows")
    journal.append([record("a")])

    def be_full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", be_full)
    with pytest.raises(StoreFailed, match="no space is left for .*rows.jsonl"):
        journal.append([record("b")])
    monkeypatch.undo()
    journal.append([record("c")])
    journal.close()
    assert names(disk) == ["a", "c"]


def test_without_a_disk_a_journal_is_a_few_small_files(monkeypatch):
    store = Store(f"memory://journal-{next(numbers)}")
    journal = open_journal(store, "rows")
    for number in range(150):
        journal.append([record(str(number))])
    assert len(names(store)) == 128, "two whole files so far"
    monkeypatch.setattr(journals, "_SEGMENT_S", 0.0)
    journal.append([record("late")])
    assert len(names(store)) == 151, "nothing is held back for long"
    journal.append([record("last")])
    journal.close()
    assert len(store.list_files("journal")) == 4 and len(Finished(store)) == 152
