"""A real folder, also with several processes on it and with a disk that is full."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.image_cache.folder import Folder
from server.image_cache.shelf import ShelfFailed
from tests.server.image_cache.results import NAME, OTHER, Clock, Ledger


def names(count):
    return [f"{number:02x}" * 20 for number in range(count)]


@pytest.fixture
def open_folder(tmp_path, workers):
    def make(max_bytes=10_000, ttl_s=60.0, clock=time.time, ledger=None):
        return Folder(tmp_path / "images", max_bytes, ttl_s, workers, ledger, clock)

    return make


async def test_what_was_put_in_is_found_also_after_a_restart(open_folder):
    await open_folder().keep(NAME, b"image")
    assert await open_folder().find(NAME) == b"image"
    assert await open_folder().find(OTHER) is None


async def test_the_newest_of_a_name_is_found(open_folder):
    folder = open_folder()
    await folder.keep(NAME, b"one")
    await folder.keep(NAME, b"two")
    assert await folder.find(NAME) == b"two"


async def test_what_is_too_old_is_not_found_and_goes_with_the_next_sweep(open_folder, tmp_path):
    clock = Clock()
    folder = open_folder(clock=clock)
    await folder.keep(NAME, b"old" * 200)
    clock.now += 59.0
    assert await folder.find(NAME) is not None
    clock.now += 1.0
    assert await folder.find(NAME) is None
    await folder.keep(OTHER, b"new" * 200)
    assert [path.name for path in tmp_path.glob("images/??/*")] == [OTHER]


async def test_what_was_used_longest_ago_goes_when_there_is_no_room(open_folder, tmp_path):
    clock, ledger = Clock(), Ledger()
    folder = open_folder(clock=clock, ledger=ledger)
    for name in names(10):
        clock.now += 1
        await folder.keep(name, bytes(1000))
    clock.now += 1
    assert await folder.find(names(10)[0]) is not None
    assert (tmp_path / "images" / "00" / names(10)[0]).stat().st_atime == clock.now
    clock.now += 1
    await folder.keep(NAME, bytes(1000))
    assert await folder.find(names(10)[0]) is not None
    assert await folder.find(names(10)[1]) is None
    assert ledger.counts["evicted disk"] == 1 and ledger.num_bytes["disk"] == 10_000


async def test_the_folder_never_grows_far_beyond_its_room(open_folder, tmp_path):
    folder = open_folder()
    for name in names(60):
        await folder.keep(name, bytes(400))
        total = sum(path.stat().st_size for path in tmp_path.glob("images/??/*"))
        assert total <= 10_500
    assert total > 9_000


async def test_what_is_larger_than_all_room_is_not_kept(open_folder):
    folder = open_folder()
    await folder.keep(NAME, bytes(10_001))
    assert await folder.find(NAME) is None


async def test_a_process_that_died_while_writing_leaves_nothing_for_ever(open_folder, tmp_path):
    clock = Clock()
    folder = open_folder(clock=clock)
    left = tmp_path / "images" / "ab" / f"{'0' * 32}.unfinished"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    os.utime(left, (clock.now, clock.now))
    await folder.keep(NAME, bytes(600))
    assert left.exists()
    clock.now += 3601
    await folder.keep(NAME, bytes(600))
    assert not left.exists()


async def test_files_of_others_are_never_touched(open_folder, tmp_path):
    foreign = tmp_path / "images" / "ab" / "notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(bytes(50_000))
    os.utime(foreign, (0, 0))
    folder = open_folder()
    await folder.keep(NAME, bytes(1000))
    await folder.purge()
    assert foreign.exists() and await folder.find(NAME) is None


async def test_a_purge_empties_the_folder(open_folder):
    folder = open_folder()
    for name in names(5):
        await folder.keep(name, b"image")
    await folder.purge()
    assert [await folder.find(name) for name in names(5)] == [None] * 5
    await folder.purge()


async def test_dropping_what_is_not_there_is_no_fault(open_folder):
    folder = open_folder()
    await folder.drop(NAME)
    await folder.keep(NAME, b"image")
    await folder.drop(NAME)
    assert await folder.find(NAME) is None


async def test_while_the_folder_is_swept_others_write_and_read(tmp_path):
    is_released = threading.Event()

    class Slow(Ledger):
        def held(self, tier, num_bytes):
            assert is_released.wait(30)
            super().held(tier, num_bytes)

    with ThreadPoolExecutor(1) as workers:
        folder = Folder(tmp_path / "images", 100_000, 60.0, workers, Slow())
        first = asyncio.create_task(folder.keep(NAME, b"image"))
        while not (tmp_path / "images" / NAME[:2] / NAME).exists():
            await asyncio.sleep(0.001)
        await folder.keep(OTHER, b"another")
        assert await folder.find(OTHER) == b"another" and not first.done()
        is_released.set()
        await first
        await folder.close()


async def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    open_folder, tmp_path, monkeypatch
):
    def fill(path, data):
        with path.open("wb") as file:
            file.write(data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(ShelfFailed, match="No space left"):
        await open_folder().keep(NAME, b"image")
    assert not list(tmp_path.glob("images/??/*"))


async def test_a_folder_that_can_not_be_is_told(tmp_path, workers):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ShelfFailed):
        await Folder(tmp_path / "file" / "images", 100, 60.0, workers).keep(NAME, b"image")


WRITER = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from server.image_cache.folder import Folder

async def main(own):
    with ThreadPoolExecutor(2) as workers:
        folder = Folder(Path(sys.argv[1]), 20_000, 60.0, workers)
        for number in range(150):
            name = f"{number % 10:02x}" * 20
            found = await folder.find(name)
            assert found is None or found == found[:1] * len(found), "torn"
            await folder.keep(name, own * (1000 + 100 * number % 7))

asyncio.run(main(sys.argv[2].encode()))
"""


async def test_processes_that_share_a_folder_never_read_half_of_a_file(tmp_path, open_folder):
    folder = tmp_path / "images"
    command = [sys.executable, "-c", WRITER, str(folder)]
    writers = [subprocess.Popen([*command, own]) for own in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = [await open_folder(20_000).find(name) for name in names(10)]
    assert all(data is not None and data == data[:1] * len(data) for data in found)
    assert not list(tmp_path.glob("images/??/*.unfinished"))
