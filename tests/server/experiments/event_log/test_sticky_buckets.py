"""Arms that shoppers were given are known to every server, and after a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from server.experiments.event_log.opening import open_events
from server.experiments.event_log.sticky_buckets import StickyBuckets
from server.experiments.event_log.tables import sticky_buckets
from server.experiments.sticky import Bucket, StickyStore
from tests.server.experiments.event_log.happenings import read_rows

WARM, COLD = Bucket("warm", 1 / 3), Bucket("cold", 2 / 3)


@pytest.fixture
def store(engine):
    store = StickyBuckets(engine)
    store.start()
    yield store
    store.close()


def test_it_is_a_sticky_store(store):
    promised: StickyStore = store
    assert promised.get("nobody") == {}


def after_restart(url) -> StickyBuckets:
    return StickyBuckets(open_events(url))


def test_a_bucket_is_there_at_once_and_after_a_restart(store, url):
    assert store.get("anna") == {}
    store.put("anna", "a__0", WARM)
    store.put("anna", "b__1", COLD)
    store.put("bert", "a__0", COLD)
    assert store.get("anna") == {"a__0": WARM, "b__1": COLD}
    store.close()
    other = after_restart(url)
    assert other.get("anna") == {"a__0": WARM, "b__1": COLD}
    assert other.get("bert") == {"a__0": COLD}
    other._engine.dispose()


def test_the_first_bucket_stays_whichever_server_gave_it(url):
    stores = [after_restart(url) for _ in range(4)]
    for number, store in enumerate(stores):
        store.start()
        for unit in range(50):
            store.put(f"unit-{unit}", "a__0", Bucket(f"arm-{number}", 0.25))
            store.put(f"unit-{unit}", "a__0", Bucket("never", 0.25))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(StickyBuckets.close, stores))
    found = [[store.get(f"unit-{unit}")["a__0"] for unit in range(50)] for store in stores]
    assert found[0] == found[1] == found[2] == found[3]
    assert all(bucket.arm.startswith("arm-") for bucket in found[0])
    for store in stores:
        store._engine.dispose()


def test_without_its_database_a_store_knows_what_it_was_told_and_writes_it_later(store, engine):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE etalage_sticky_buckets RENAME TO elsewhere"))
    store.put("anna", "a__0", WARM)
    assert store.get("anna") == {"a__0": WARM}
    assert not store._write()
    assert store.get("bert") == {}
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO etalage_sticky_buckets"))
    store.close()
    (row,) = read_rows(engine, sticky_buckets)
    assert (row["unit"], row["slot"], row["arm"]) == ("anna", "a__0", "warm")
