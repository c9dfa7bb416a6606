"""A shopper's rows go from each kind of online store and from files, and nobody else's."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from redis import Redis

from features.consent import read_online
from features.erasure import erase_files, erase_online, wipe_remnants
from features.holdings import tell_shopper
from features.remnants import holds_any
from features.schema import USER_PROFILE, USER_RECENT
from tests.features.stores import (
    last_clicks,
    make_store,
    profile,
    recent,
    taste,
    write_row,
)
from tests.server.image_cache.conftest import RedisServer
from tests.server.postgresql import running, why_not

MEMORY = {"type": "tests.features.memory_store.MemoryOnlineStore"}


@pytest.fixture
def redis(tmp_path):
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on this machine")
    server = RedisServer(tmp_path)
    yield {"type": "redis", "connection_string": f"127.0.0.1:{server.port}"}
    server.stop()


@pytest.fixture
def postgres():
    if why := why_not():
        pytest.skip(why)
    with running() as server:
        yield {
            "type": "postgres",
            "host": "127.0.0.1",
            "port": server.port,
            "database": "postgres",
            "db_schema": "public",
            "user": "etalage",
            "password": "none",
            "sslmode": "disable",
        }


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres", "memory"])
def test_rows_of_all_views_go_and_those_of_others_stay(tmp_path, kind, request):
    settings = {"sqlite": {}, "memory": MEMORY}.get(kind)
    settings = request.getfixturevalue(kind) if settings is None else settings
    store = make_store(tmp_path / "home", online_store=settings)
    for name in ("anna", "anna-maria"):
        write_row(store, USER_PROFILE, name, **profile())
        write_row(store, USER_RECENT, name, **recent())
    assert erase_online(store, "anna").num_rows >= 8
    assert erase_online(store, "anna").num_rows == erase_online(store, "nobody").num_rows == 0
    for view in (USER_PROFILE, USER_RECENT):
        assert read_online(store, view, "anna") == (None, {})
        assert read_online(store, view, "anna-maria")[0] is not None
    if kind == "postgres":
        store.online._conn.close()
    if kind == "redis":
        client = Redis(port=int(settings["connection_string"].rpartition(":")[2]))
        (key,) = client.keys()
        assert b"anna-maria" in key and not any(
            np.asarray(taste(1), np.float32).tobytes() == value for value in client.hvals(key)
        )
        client.close()
        store.online._get_client(store.feast.config.online_store).close()


def test_no_byte_is_left_in_sqlite_of_rows_that_were_changed_and_moved_about(tmp_path):
    store = make_store(tmp_path)
    for number in range(300):  # enough for pages to be split
        write_row(store, USER_PROFILE, f"shopper-{number:04d}", **profile(number + 10))
    for seed in (1, 2):
        write_row(store, USER_PROFILE, "shopper-0150", **profile(seed))
        write_row(store, USER_RECENT, "shopper-0150", **recent(seed))
    embedding = np.asarray(taste(2), np.float32).tobytes()
    clicks = last_clicks(2).embeddings[0].tobytes()
    file = tmp_path / "store" / "online.db"
    sought = {b"shopper-0150", embedding, clicks}
    assert all(holds_any(file, {each}) for each in sought)
    erased = erase_online(store, "shopper-0150")
    wipe_remnants(store, "shopper-0150", erased.traces)
    assert not holds_any(file, sought)
    assert read_online(store, USER_PROFILE, "shopper-0151")[0] is not None
    assert wipe_remnants(store, "shopper-0150", erased.traces) == 0  # there is nothing to do


def test_files_are_written_anew_without_the_rows_and_are_otherwise_as_they_were(tmp_path):
    names = ["anna", "bert", None, "anna", "carl"] * 50
    plain = pa.table({"user_id": names, "n": range(250)})
    coded = plain.set_column(0, "user_id", pa.array(names).dictionary_encode())
    told = coded.replace_schema_metadata({"fingerprint": "f"})
    (tmp_path / "deep").mkdir()
    pq.write_table(told, tmp_path / "deep" / "clicks.parquet", row_group_size=64)
    pq.write_table(pa.table({"n": [1]}), tmp_path / "others.parquet")
    assert erase_files(tmp_path, "user_id", "anna") == 100
    assert erase_files(tmp_path, "user_id", "anna") == 0
    left = pq.read_table(tmp_path / "deep" / "clicks.parquet")
    assert left.num_rows == 150 and left["user_id"].to_pylist()[:3] == ["bert", None, "carl"]
    assert left.schema.metadata[b"fingerprint"] == b"f"
    assert not any(b"anna" in path.read_bytes() for path in tmp_path.rglob("*.parquet"))


def test_what_is_held_is_told_with_its_history_and_its_age(store):
    write_row(store, USER_PROFILE, "anna", age_s=100, **profile())
    told = tell_shopper(store, "anna", datetime.now(UTC) + timedelta(seconds=1))
    assert told["consent"] is True and told["user_recent"]["online"] is None
    assert 100 <= told["user_profile"]["online"]["age_s"] <= 103
    assert told["user_profile"]["online"]["embedding"] == pytest.approx(taste(1))
    assert tell_shopper(store, "nobody")["consent"] is None
