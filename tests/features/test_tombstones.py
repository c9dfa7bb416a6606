"""Who was erased stays out, whoever writes, and may come back with what happened since."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from features.consent import PermanentlyErased, read_online, set_consent
from features.erasure import erase_files, erase_online
from features.materialize import materialize, push, read_offline
from features.offline import write_part
from features.schema import USER_PROFILE, USER_RECENT
from features.tombstones import Tombstone, Tombstones, bury, metadata
from server.database import open_engine, writing
from tests.features.stores import WIDTH, profile, recent, table, write_row

HOUR = timedelta(hours=1)
KEY = USER_PROFILE.key


def erased(store, user_id, *, is_permanent=False, when=None):
    """As server/privacy/register.py writes it."""
    mark = Tombstone((when or datetime.now(UTC)).timestamp(), is_permanent)
    engine = open_engine(f"sqlite:///{store.config.home / 'privacy.db'}")
    with writing(engine) as connection:
        metadata.create_all(connection)
        bury(connection, store.tombstones.name(user_id), mark)
    engine.dispose()
    erase_online(store, user_id)
    erase_files(store.config.home, KEY, user_id)


def rows(view, *told):
    made = profile() if view is USER_PROFILE else recent()
    return table(view, [{KEY: u, "event_timestamp": when, **made} for u, when in told])


@pytest.fixture
def shop(store):
    """With Anna and Bert, online and offline."""
    hour_ago = datetime.now(UTC) - HOUR
    for view in (USER_PROFILE, USER_RECENT):
        told = rows(view, ("anna", hour_ago), ("bert", hour_ago))
        write_part(store.config.offline_folder(view), "nightly", told)
        materialize(store, view, WIDTH)
    return store


def test_materializing_what_a_backup_brought_back_brings_nobody_back(shop):
    backup = read_offline(shop, USER_PROFILE, datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC))
    erased(shop, "anna")
    write_part(shop.config.offline_folder(USER_PROFILE), "backup", backup)
    report = materialize(shop, USER_PROFILE, WIDTH)
    assert (report.num_written, report.num_erased) == (1, 0)  # she is not even read
    assert push(shop, USER_PROFILE, backup, WIDTH).num_erased == 1
    assert read_online(shop, USER_PROFILE, "anna") == (None, {})
    assert read_online(shop, USER_PROFILE, "bert")[0] is not None


def test_who_comes_back_is_taken_in_with_what_happened_since(shop):
    now = datetime.now(UTC)
    erased(shop, "anna", when=now - HOUR / 2)
    assert push(shop, USER_RECENT, rows(USER_RECENT, ("anna", now - HOUR)), WIDTH).num_erased == 1
    assert push(shop, USER_RECENT, rows(USER_RECENT, ("anna", now)), WIDTH).num_written == 1
    assert read_online(shop, USER_RECENT, "anna")[0] is not None


def test_who_is_erased_for_good_is_never_taken_in_nor_asked_for_consent(shop):
    erased(shop, "anna", is_permanent=True)
    erased(shop, "anna")  # and stays so
    later = rows(USER_PROFILE, ("anna", datetime.now(UTC)))
    assert push(shop, USER_PROFILE, later, WIDTH).num_erased == 1
    with pytest.raises(PermanentlyErased):
        set_consent(shop, "anna", True)


def test_who_is_erased_while_they_are_written_does_not_stay(shop, monkeypatch):
    write = type(shop.online).online_write_batch

    def write_slowly(*arguments, **named):
        monkeypatch.undo()
        erased(shop, "anna")  # between the look at tombstones and the write
        return write(shop.online, *arguments, **named)

    monkeypatch.setattr(shop.online, "online_write_batch", write_slowly)
    push(shop, USER_PROFILE, rows(USER_PROFILE, ("anna", datetime.now(UTC) - HOUR)), WIDTH)
    assert read_online(shop, USER_PROFILE, "anna") == (None, {})
    assert read_offline(shop, USER_PROFILE, datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC))[
        KEY
    ].to_pylist() == ["bert"]


def test_nothing_is_written_where_tombstones_cannot_be_read(shop, tmp_path):
    shop.tombstones = Tombstones(f"sqlite:///{tmp_path}", tmp_path / "keys")  # a folder
    with pytest.raises(Exception, match="unable to open"):
        push(shop, USER_PROFILE, rows(USER_PROFILE, ("carl", datetime.now(UTC))), WIDTH)
    assert read_online(shop, USER_PROFILE, "carl") == (None, {})


def test_consent_is_the_newest_row_and_no_materialization_undoes_it(shop):
    write_row(shop, USER_PROFILE, "anna", age_s=-200, **profile())  # a clock that is ahead
    when = set_consent(shop, "anna", False)
    assert when.timestamp() > time.time() + 190
    materialize(shop, USER_PROFILE, WIDTH, end=datetime.now(UTC) + HOUR)
    _, told = read_online(shop, USER_PROFILE, "anna")
    assert told["consent"] is False and told["embedding"] and told["locale"] == "de"
    set_consent(shop, "nobody-yet", True)
    assert read_online(shop, USER_PROFILE, "nobody-yet")[1]["consent"] is True


def test_consent_does_not_make_an_old_embedding_young(shop):
    write_row(shop, USER_PROFILE, "old", age_s=40 * 86_400, **profile())
    set_consent(shop, "old", True)
    assert read_online(shop, USER_PROFILE, "old")[1]["embedding"] is None
