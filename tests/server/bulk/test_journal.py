"""What is in the journal is done, whatever happens after that."""

import errno
import itertools
import os
import subprocess
import sys
from typing import Any

import pytest

from server.bulk import journal as journals
from server.bulk.journal import Finished, JournalTaken, open_journal, read_journal
from server.bulk.record import Failure, Record
from server.bulk.shard import Shard
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
        journal = open_journal(store)
        journal.append([record(f"{run}1"), record(f"{run}2", failure=FAILURE)])
        journal.append([record(f"{run}3", "d3")])
        journal.close()
    assert names(store) == ["a1", "a2", "a3", "b1", "b2", "b3"]
    finished = Finished(store)
    assert len(finished) == 4
    assert (finished.find("a1"), finished.find("b3"), finished.find("a2")) == ("d1", "d3", None)


def test_journals_of_shards_are_read_as_one(store):
    for number in (1, 2):
        journal = open_journal(store, Shard(number, 2))
        journal.append([record(f"of shard {number}")])
        journal.close()
    assert names(store) == ["of shard 1", "of shard 2"]


def test_a_store_without_a_journal_has_nothing(store):
    assert not names(store) and not len(Finished(store))


@pytest.mark.parametrize("torn", [b'{"name":"b","number":1,"dig', b"x" * 200_000])
def test_a_torn_line_is_cut_off_before_the_next_is_written(disk, torn):
    journal = open_journal(disk)
    journal.append([record("a")])
    journal.close()
    file = disk.local / "journal" / "rows.jsonl"
    with file.open("ab") as end:
        end.write(torn)
    assert names(disk) == ["a"]
    journal = open_journal(disk)
    journal.append([record("c")])
    journal.close()
    assert names(disk) == ["a", "c"] and torn not in file.read_bytes()


def test_a_file_of_nothing_but_a_torn_line_becomes_empty(disk):
    disk.make_folders("journal")
    file = disk.local / "journal" / "rows.jsonl"
    file.write_bytes(b"x" * 100_000)
    open_journal(disk).close()
    assert file.read_bytes() == b""


def test_two_runs_can_not_have_rows_in_common_and_the_shards_of_one_count_have_none(disk):
    whole = open_journal(disk)
    with pytest.raises(JournalTaken, match=r"another run writes to .*rows\.jsonl"):
        open_journal(disk)
    with pytest.raises(JournalTaken, match="another run, of all rows, writes to "):
        open_journal(disk, Shard(1, 2))
    whole.close()
    first, second = open_journal(disk, Shard(1, 2)), open_journal(disk, Shard(2, 2))
    with pytest.raises(JournalTaken, match=r"rows-2-of-2\.jsonl"):
        open_journal(disk, Shard(2, 2))
    first.close()
    for shard in (Shard(), Shard(1, 3)):
        with pytest.raises(JournalTaken, match="another run, of one of 2 shards, writes to "):
            open_journal(disk, shard)
    second.close()
    open_journal(disk, Shard(1, 3)).close()


OPEN = """
import sys
from server.bulk.journal import JournalTaken, open_journal
from server.bulk.shard import Shard
from server.bulk.store import Store

print("ready", flush=True)
sys.stdin.readline()
try:
    journal = open_journal(Store(sys.argv[1]), Shard.parse(sys.argv[2]))
except JournalTaken:
    sys.exit(3)
print("opened", flush=True)
sys.stdin.read()
"""


def read_line(run):
    return run.stdout.readline()


def test_of_runs_that_start_at_the_same_moment_no_two_have_rows_in_common(disk):
    shards = ["1/2", "2/2", "1/3", "2/3", "1/1"]
    command = [sys.executable, "-c", OPEN, str(disk.local)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    runs = {
        shard: subprocess.Popen([*command, shard], text=True, bufsize=1, **pipes)
        for shard in shards
    }
    assert {read_line(run) for run in runs.values()} == {"ready\n"}
    for run in runs.values():
        assert run.stdin is not None
        run.stdin.write("go\n")
    opened = [shard for shard, run in runs.items() if read_line(run) == "opened\n"]
    for run in runs.values():
        run.communicate()
    assert len({shard.partition("/")[2] for shard in opened}) == 1
    statuses = {shard: run.returncode for shard, run in runs.items()}
    assert statuses == {shard: 0 if shard in opened else 3 for shard in shards}


def test_lines_are_on_the_disk_before_they_count(disk, monkeypatch):
    synchronized: list[int] = []
    monkeypatch.setattr(os, "fsync", synchronized.append)
    journal = open_journal(disk)
    journal.append([record("a"), record("b")])
    assert len(synchronized) == 1, "once for all of them"
    journal.close()


def test_where_the_disk_is_full_nothing_of_the_group_is_left(disk, monkeypatch):
    journal = open_journal(disk)
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
    journal = open_journal(store)
    for number in range(150):
        journal.append([record(str(number))])
    assert len(names(store)) == 128, "two whole files so far"
    monkeypatch.setattr(journals, "_SEGMENT_S", 0.0)
    journal.append([record("late")])
    assert len(names(store)) == 151, "nothing is held back for long"
    journal.append([record("last")])
    journal.close()
    assert len(store.list_files("journal")) == 4 and len(Finished(store)) == 152
