"""Files that are whole or not there at all."""

import errno
import itertools
import os
import pickle

import pytest

from server.bulk.store import Store, StoreFailed
from tests.server.bulk.clouds import CLOUD, CloudError

numbers = itertools.count()


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    is_disk = request.param == "disk"
    return Store(str(tmp_path / "out") if is_disk else f"memory://store-{next(numbers)}/out")


def test_what_is_written_is_read_listed_and_written_again(store):
    store.make_folders("", "images")
    assert store.read("images/a.png") is None and store.list_files("images") == []
    for data in (b"old", b"new\nline"):
        store.write("images/a.png", data)
    store.write("images/b.png", b"")
    assert store.read("images/a.png") == b"new\nline"
    assert list(store.read_lines("images/a.png")) == [b"new\n", b"line"]
    assert store.list_files("images") == ["images/a.png", "images/b.png"]
    assert store.list_files("nowhere") == []
    store.write("run.json", b"{}")
    assert [path for path in store.list_files("") if "." in path] == ["run.json"]


def test_a_store_goes_to_another_process(store):
    store.make_folders("images")
    again = pickle.loads(pickle.dumps(store))
    again.write("images/a.png", b"data")
    assert store.read("images/a.png") == b"data"


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append(sorted(os.listdir(tmp_path))))
    Store(str(tmp_path)).write("a.png", b"data")
    assert seen == [[".a.png.unfinished"]] and os.listdir(tmp_path) == ["a.png"]


def test_on_a_full_disk_nothing_is_left_and_the_old_file_stays(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    store.write("a.png", b"old")

    def be_full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", be_full)
    with pytest.raises(StoreFailed, match="no space is left for .*/a.png"):
        store.write("a.png", b"new")
    assert os.listdir(tmp_path) == ["a.png"] and store.read("a.png") == b"old"


def test_an_unfinished_file_is_not_listed(tmp_path):
    (tmp_path / ".a.png.unfinished").write_bytes(b"half")
    store = Store(str(tmp_path))
    assert store.list_files("") == []


def test_what_can_not_be_written_says_where_and_why(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreFailed, match="file/out can't be made: "):
        Store(str(tmp_path / "file" / "out")).make_folders("")
    with pytest.raises(StoreFailed, match="/nowhere/a.png can't be written: No such file"):
        Store(str(tmp_path)).write("nowhere/a.png", b"")
    with pytest.raises(StoreFailed, match="nosuch://out: "):
        Store("nosuch://out")


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.make_folders(""),
        lambda store: store.write("a.png", b""),
        lambda store: store.read("a.png"),
        lambda store: list(store.read_lines("a.png")),
        lambda store: store.list_files(""),
    ],
)
def test_what_the_client_of_a_cloud_raises_is_told_in_a_line(ask):
    assert not issubclass(CloudError, OSError)
    with pytest.raises(StoreFailed, match=rf"{CLOUD}.* can't be \w+: AccessDenied: not yours$"):
        ask(Store(CLOUD))
    with pytest.raises(StoreFailed, match="refusing://nowhere: NoSuchBucket"):
        Store("refusing://nowhere")
