"""The reader on a real sqlite store, whole and in trouble."""

import asyncio
import contextlib
import sqlite3
import threading
import time

import pytest

from features.definitions import Lifetimes
from features.online import MAX_KEYS
from features.records import FeaturesUnavailable, Product, ProductUnknown, Status
from features.schema import PRODUCT_FEATURES, USER_PROFILE, USER_RECENT
from tests.features.stores import (
    LONG_S,
    WIDTH,
    make_reader,
    make_store,
    product,
    profile,
    recent,
    taste,
    taste_vector,
    write_row,
)


class Observed:
    def __init__(self):
        self.reads, self.gaps, self.ages = [], [], []

    def read_seconds(self, view, seconds):
        assert seconds > 0 and threading.current_thread() is threading.main_thread()
        self.reads.append(view)

    def missing(self, view, reason):
        self.gaps.append((view, reason))

    def age(self, view, seconds):
        self.ages.append((view, seconds))


def count_reads(reader):
    """Counts real reads of the store, by view and number of keys."""
    counted = []
    online_read = reader._store.online.online_read

    def counting(config, view, keys, features):
        counted.append((view.name, len(keys)))
        return online_read(config, view, keys, features)

    reader._store.online.online_read = counting
    return counted


@contextlib.contextmanager
def locked(store):
    """No one else gets to read the database."""
    path = store.config.folder / "online.db"
    store.online._conn.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


async def test_a_read_of_a_shopper_takes_its_least_time_whoever_they_are(tmp_path):
    store = make_store(tmp_path)
    write_row(store, USER_PROFILE, "anna", **profile())
    reader = make_reader(store, min_read_s=0.05)
    reader.start()
    for user_id in ("anna", "nobody"):
        started_s = time.monotonic()
        await reader.read_shopper(user_id, timeout_s=LONG_S)
        assert time.monotonic() - started_s >= 0.05
    await reader.close()


async def test_a_shopper_and_a_product_are_read(filled, reader):
    shopper = await reader.read_shopper("anna", timeout_s=LONG_S)
    assert shopper.status is Status.FOUND and shopper.profile.tolist() == taste(1)
    assert (shopper.consent, shopper.locale, shopper.age_band) == (True, "de", "25-34")
    assert shopper.interests == ("sports", "books") and shopper.gender == "f"
    assert 100 <= shopper.ages_s["user_profile"] < 200 and "user_recent" not in shopper.ages_s
    found = await reader.read_product("ball", timeout_s=LONG_S)
    assert found.titles["de"] == "Ball" and found.image_embedding.tolist() == taste(3)
    assert 50 <= found.ages_s["product_features"] < 150


async def test_nothing_asked_for_is_nothing_read(filled, reader):
    counted = count_reads(reader)
    assert await reader.read(None, [], timeout_s=LONG_S) == (None, {})
    shopper, products = await reader.read(None, ["ball"], timeout_s=LONG_S)
    assert shopper is None and isinstance(products["ball"], Product)
    assert counted == [("product_features", 1)]


async def test_both_can_be_read_in_one_go(filled, reader):
    counted = count_reads(reader)
    shopper, products = await reader.read("anna", ["ball", "gone"], timeout_s=LONG_S)
    assert shopper.status is Status.FOUND
    assert isinstance(products["ball"], Product) and isinstance(products["gone"], ProductUnknown)
    assert counted == [("user_profile", 1), ("user_recent", 1), ("product_features", 2)]


async def test_concurrent_requests_become_one_read_for_each_view(filled, reader):
    counted = count_reads(reader)
    requests = [reader.read_shopper("anna", timeout_s=LONG_S) for _ in range(20)]
    requests += [reader.read_shopper(f"user-{n}", timeout_s=LONG_S) for n in range(20)]
    requests += [reader.read_product("ball", timeout_s=LONG_S) for _ in range(24)]
    answers = await asyncio.gather(*requests)
    assert counted == [("user_profile", 21), ("user_recent", 21), ("product_features", 1)]
    assert [answer.status for answer in answers[:40]] == [Status.FOUND] * 20 + [Status.MISSING] * 20


async def test_more_keys_than_sqlite_takes_are_read_in_parts(store, reader):
    for number in (0, MAX_KEYS, 3 * MAX_KEYS):
        write_row(store, PRODUCT_FEATURES, f"p{number}", **product())
    ids = [f"p{number}" for number in range(3 * MAX_KEYS + 1)]
    found = await reader.read_products(ids, timeout_s=LONG_S)
    known = [key for key, value in found.items() if isinstance(value, Product)]
    assert known == ["p0", f"p{MAX_KEYS}", f"p{3 * MAX_KEYS}"] and len(found) == len(ids)


async def test_an_unknown_shopper_is_missing_and_an_unknown_product_an_error(filled, reader):
    shopper = await reader.read_shopper("nobody", timeout_s=LONG_S)
    assert shopper.status is Status.MISSING and shopper.consent is False and not shopper.ages_s
    with pytest.raises(ProductUnknown, match="'nothing'"):
        await reader.read_product("nothing", timeout_s=LONG_S)


async def test_someone_without_a_history_is_missing_with_their_profile(filled, reader):
    shopper = await reader.read_shopper("cold", timeout_s=LONG_S)
    assert shopper.status is Status.MISSING and shopper.profile is None
    assert shopper.consent is True and shopper.locale == "fr"


async def test_recent_clicks_take_part_until_they_are_a_day_old(filled, reader):
    write_row(filled, USER_RECENT, "anna", age_s=3600, **recent())
    fresh = await reader.read_shopper("anna", timeout_s=LONG_S)
    write_row(filled, USER_RECENT, "anna", age_s=86_500, **recent())
    old = await reader.read_shopper("anna", timeout_s=LONG_S)
    ball = taste_vector(3)
    assert fresh.embed(ball).tolist() != taste(1) and old.embed(ball).tolist() == taste(1)
    assert old.ages_s["user_recent"] > 86_400


async def test_the_lifetime_of_the_registry_is_enforced(tmp_path):
    store = make_store(tmp_path, lifetimes=Lifetimes(user_profile_s=60, product_features_s=60))
    write_row(store, USER_PROFILE, "anna", age_s=90, **profile())
    write_row(store, PRODUCT_FEATURES, "ball", age_s=90, **product())
    reader = make_reader(store)
    reader.start()
    shopper = await reader.read_shopper("anna", timeout_s=LONG_S)
    assert shopper.status is Status.STALE and shopper.profile is None
    with pytest.raises(FeaturesUnavailable, match="stale"):
        await reader.read_product("ball", timeout_s=LONG_S)
    await reader.close()


@pytest.mark.parametrize("embedding", [[0.5] * (WIDTH + 1), [float("nan")] * WIDTH])
async def test_wrong_vectors_that_another_writer_stored_are_invalid(store, reader, embedding):
    write_row(store, USER_PROFILE, "anna", **profile(embedding=embedding))
    write_row(store, PRODUCT_FEATURES, "ball", **product(image_embedding=embedding))
    assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.INVALID
    with pytest.raises(FeaturesUnavailable, match="invalid") as caught:
        await reader.read_product("ball", timeout_s=LONG_S)
    assert not caught.value.is_passing


async def test_a_row_of_broken_bytes_harms_nobody_else_in_its_batch(store, reader):
    users = [f"user-{number}" for number in range(9)]
    for user in users:
        write_row(store, USER_PROFILE, user, **profile())
    store.online._conn.execute(
        "UPDATE etalage_user_profile SET value = x'ffffff' WHERE feature_name = 'embedding' AND "
        "entity_key = (SELECT entity_key FROM etalage_user_profile ORDER BY entity_key LIMIT 1)"
    )
    store.online._conn.commit()
    reads = (reader.read_shopper(user, timeout_s=LONG_S) for user in users)
    statuses = [shopper.status for shopper in await asyncio.gather(*reads)]
    assert sorted(status.value for status in statuses) == ["found"] * 8 + ["invalid"]


async def test_a_locked_store_is_late_for_each_request_and_never_blocks_the_loop(filled, reader):
    with locked(filled):
        reads = [asyncio.create_task(reader.read_shopper("anna", timeout_s=0.2)) for _ in range(8)]
        ticks = 0
        while not all(read.done() for read in reads):
            await asyncio.sleep(0.01)
            ticks += 1
        assert ticks >= 5
        assert {read.result().status for read in reads} == {Status.UNAVAILABLE}
        assert not any(read.result().consent for read in reads)
    again = await reader.read_shopper("anna", timeout_s=LONG_S)
    assert again.status is Status.FOUND


async def test_a_product_read_before_is_still_there_when_the_store_is_late(filled, open_reader):
    now = [time.time()]
    reader = open_reader(clock=lambda: now[0])
    first = await reader.read_product("ball", timeout_s=LONG_S)
    reader._store.online._conn.close()
    reader._store.online._conn = None
    now[0] += 1000
    with locked(filled):
        kept = await reader.read_product("ball", timeout_s=0.05)
        assert kept.titles == first.titles and kept.packshot == first.packshot
        aged_s = kept.ages_s["product_features"] - first.ages_s["product_features"]
        assert aged_s == pytest.approx(1000)
        with pytest.raises(FeaturesUnavailable, match="late") as caught:
            await reader.read_product("never read", timeout_s=0.05)
        assert caught.value.is_passing


async def test_a_broken_view_leaves_the_others_alone(filled, open_reader, caplog):
    observed = Observed()
    reader = open_reader(observer=observed)
    filled.online._conn.execute("DROP TABLE etalage_user_profile")
    shopper, products = await reader.read("anna", ["ball"], timeout_s=LONG_S)
    assert shopper.status is Status.UNAVAILABLE and isinstance(products["ball"], Product)
    assert ("user_profile", "unavailable") in observed.gaps
    assert "reading user_profile failed" in caplog.text and "anna" not in caplog.text


async def test_an_outage_is_logged_once_and_so_is_its_end(filled, reader, caplog):
    path = "etalage_product_features"
    filled.online._conn.execute(f"ALTER TABLE {path} RENAME TO away")
    for _ in range(3):
        with pytest.raises(FeaturesUnavailable):
            await reader.read_product("ball", timeout_s=LONG_S)
    assert caplog.text.count("reading product_features failed") == 1
    filled.online._conn.execute(f"ALTER TABLE away RENAME TO {path}")
    for _ in range(3):
        await reader.read_product("ball", timeout_s=LONG_S)
    assert caplog.text.count("reading product_features works again") == 1


async def test_a_product_that_was_taken_away_is_unknown_and_no_longer_kept(filled, reader):
    await reader.read_product("ball", timeout_s=LONG_S)
    filled.online._conn.execute("DELETE FROM etalage_product_features")
    filled.online._conn.commit()
    with pytest.raises(ProductUnknown):
        await reader.read_product("ball", timeout_s=LONG_S)
    filled.online._conn.execute("DROP TABLE etalage_product_features")
    with pytest.raises(FeaturesUnavailable, match="failed"):
        await reader.read_product("ball", timeout_s=LONG_S)


async def test_only_so_many_products_are_kept_the_least_used_goes_first(store, open_reader):
    reader = open_reader(num_kept=2)
    for name in "abc":
        write_row(store, PRODUCT_FEATURES, name, **product())
    for name in "abac":
        await reader.read_product(name, timeout_s=LONG_S)
    store.online._conn.execute("DROP TABLE etalage_product_features")
    found = await reader.read_products("abc", timeout_s=LONG_S)
    assert [isinstance(found[name], Product) for name in "abc"] == [True, False, True]


async def test_no_time_left_is_unavailable_at_once(filled, reader):
    assert (await reader.read_shopper("anna", timeout_s=0)).status is Status.UNAVAILABLE
    assert (await reader.read_shopper("anna", timeout_s=-1)).status is Status.UNAVAILABLE


async def test_the_observer_hears_of_reads_ages_and_gaps(filled, open_reader):
    observed = Observed()
    reader = open_reader(observer=observed)
    await reader.read("anna", ["ball", "gone"], timeout_s=LONG_S)
    assert observed.reads == ["user_profile", "user_recent", "product_features"]
    assert [view for view, _ in observed.ages] == ["user_profile", "product_features"]
    assert observed.gaps == [("user_recent", "missing"), ("product_features", "missing")]


async def test_a_wrong_key_is_just_an_unknown_shopper(filled, reader):
    for key in ("", "1", "anna ", "'; DROP TABLE etalage_user_profile; --", "\x00", "ä" * 1000):
        assert (await reader.read_shopper(key, timeout_s=LONG_S)).status is Status.MISSING
    assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.FOUND


async def test_closing_answers_those_who_wait(filled):
    reader = make_reader(filled)
    reader.start()
    with locked(filled):
        waiting = asyncio.create_task(reader.read_shopper("anna", timeout_s=LONG_S))
        await asyncio.sleep(0.05)
        await reader.close()
        assert (await waiting).status is Status.UNAVAILABLE
