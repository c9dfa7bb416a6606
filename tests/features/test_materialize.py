"""Offline to online: every row checked, in chunks, and the newest event wins."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.definitions import to_key
from features.materialize import CHUNK_ROWS, materialize, push
from features.offline import write_part
from features.schema import TIMESTAMP, USER_PROFILE, USER_RECENT
from tests.features.stores import WIDTH, make_store, profile, recent, table, taste, write_row

NOW = datetime.now(UTC).replace(microsecond=0)


def days_ago(days):
    return NOW - timedelta(days=days)


def write(store, name, *rows, view=USER_PROFILE):
    write_part(store.config.offline_folder(view), name, table(view, rows))


def row(user_id, days, seed=1, **changes):
    return {"user_id": user_id, TIMESTAMP: days_ago(days)} | profile(seed, **changes)


def read(store, user_id, view=USER_PROFILE):
    keys = [to_key(view.key, user_id)]
    return store.online.online_read(store.feast.config, store.view(view), keys, view.features)[0]


def embedding(store, user_id):
    _, values = read(store, user_id)
    return np.array(values["embedding"].float_list_val.val, np.float32).tolist()


def test_the_newest_row_of_all_parts_is_materialized(store):
    write(store, "b", row("anna", 1, seed=1), row("bert", 3, seed=2))
    write(store, "a", row("anna", 2, seed=3), row("bert", 1, seed=4), row("anna", 9, seed=5))
    report = materialize(store, USER_PROFILE, WIDTH)
    assert (report.num_written, report.num_older, report.flaws) == (2, 0, ())
    assert embedding(store, "anna") == taste(1) and embedding(store, "bert") == taste(4)


def test_all_values_come_through_and_null_stays_null(store):
    write(store, "a", row("cold", 1, embedding=None, interests=[], consent=False))
    materialize(store, USER_PROFILE, WIDTH)
    when, values = read(store, "cold")
    assert when == days_ago(1)
    assert values["embedding"].WhichOneof("val") is None
    assert values["consent"].bool_val is False and values["locale"].string_val == "de"


@pytest.mark.parametrize("window", [timedelta(hours=5), timedelta(days=4)])
def test_windows_bound_memory_and_change_nothing(store, window):
    write(store, "a", *(row("anna", days, seed=days) for days in (3, 1, 2)), row("bert", 3))
    start = days_ago(5)
    report = materialize(store, USER_PROFILE, WIDTH, start=start, end=NOW, window=window)
    assert report.num_written >= 2
    assert embedding(store, "anna") == taste(1)


def test_more_rows_than_a_chunk_all_arrive(store):
    count = 2 * CHUNK_ROWS + 7
    write(store, "a", *(row(f"user-{number}", 1, seed=number) for number in range(count)))
    assert materialize(store, USER_PROFILE, WIDTH).num_written == count
    for number in (0, CHUNK_ROWS - 1, CHUNK_ROWS, count - 1):
        assert embedding(store, f"user-{number}") == taste(number)


def test_an_older_event_never_overwrites_a_newer_one(store):
    write_row(store, USER_PROFILE, "anna", age_s=60, **profile(7))
    write(store, "a", row("anna", 1, seed=8))
    report = materialize(store, USER_PROFILE, WIDTH)
    assert (report.num_written, report.num_older) == (0, 1)
    assert embedding(store, "anna") == taste(7)


def test_an_older_push_is_passed_over_and_a_newer_one_written(store):
    newer, older = row("anna", 1, seed=1), row("anna", 2, seed=2)
    assert push(store, USER_PROFILE, table(USER_PROFILE, [newer]), WIDTH).num_written == 1
    assert push(store, USER_PROFILE, table(USER_PROFILE, [older]), WIDTH).num_older == 1
    assert embedding(store, "anna") == taste(1)
    newest = row("anna", 0, seed=3)
    push(store, USER_PROFILE, table(USER_PROFILE, [newest]), WIDTH)
    assert embedding(store, "anna") == taste(3)


def test_vectors_of_nan_are_reported_and_not_stored_as_zeros(store):
    write(store, "a", row("anna", 1, embedding=[float("nan")] * WIDTH))
    report = materialize(store, USER_PROFILE, WIDTH)
    assert report.num_written == 0
    assert [(flaw.key, flaw.column) for flaw in report.flaws] == [("anna", "embedding")]
    assert read(store, "anna") == (None, None)


def test_a_row_of_nulls_is_written_and_replaces_what_was_there(store):
    """Feast's own push passes over it with a warning, and what was there stays."""
    push(store, USER_PROFILE, table(USER_PROFILE, [row("anna", 2)]), WIDTH)
    nulls = {"user_id": "anna", TIMESTAMP: days_ago(1)}
    assert push(store, USER_PROFILE, table(USER_PROFILE, [nulls]), WIDTH).num_written == 1
    _, values = read(store, "anna")
    assert {value.WhichOneof("val") for value in values.values()} == {None}


def test_vectors_of_another_width_are_reported_and_the_others_written(store):
    write(store, "a", row("anna", 1, embedding=[1.0] * 3), row("bert", 1))
    report = materialize(store, USER_PROFILE, WIDTH)
    assert report.num_written == 1 and report.flaws[0].description == f"is not {WIDTH} numbers wide"
    assert read(store, "anna") == (None, None)


def test_a_view_without_files_is_materialized_to_nothing(store):
    assert materialize(store, USER_PROFILE, WIDTH).num_written == 0


def test_feast_remembers_what_was_materialized_and_the_view_stays_open(store):
    write(store, "a", row("anna", 1))
    materialize(store, USER_PROFILE, WIDTH, start=days_ago(3), end=NOW)
    store.feast.refresh_registry()
    assert store.view(USER_PROFILE).materialization_intervals == [(days_ago(3), NOW)]
    found = store.feast.get_online_features(["user_profile:locale"], [{"user_id": "anna"}])
    assert found.to_dict()["locale"] == ["de"]


def test_a_push_is_kept_offline_unless_told_otherwise(store):
    rows = table(USER_RECENT, [{"user_id": "anna", TIMESTAMP: days_ago(0)} | recent()])
    push(store, USER_RECENT, rows, WIDTH, keep=False)
    folder = store.config.offline_folder(USER_RECENT)
    assert list(folder.iterdir()) == []
    push(store, USER_RECENT, rows, WIDTH)
    assert len(list(folder.glob("push-*.parquet"))) == 1
    assert materialize(store, USER_RECENT, WIDTH).num_written == 1


def test_history_is_joined_at_the_time_of_the_event(store):
    write(store, "a", row("anna", 10, seed=1, locale="de"), row("anna", 2, seed=2, locale="fr"))
    asked = pd.DataFrame({"user_id": ["anna"] * 2, TIMESTAMP: [days_ago(5), days_ago(1)]})
    found = store.feast.get_historical_features(
        asked, ["user_profile:locale", "user_profile:embedding"]
    ).to_df()
    by_time = dict(
        zip(found[TIMESTAMP], zip(found.locale, found.embedding, strict=True), strict=True)
    )
    assert by_time[days_ago(5)][0] == "de" and by_time[days_ago(1)][0] == "fr"
    assert np.allclose(by_time[days_ago(1)][1], taste(2))


def test_stores_do_not_share_rows(tmp_path):
    first, second = make_store(tmp_path / "a"), make_store(tmp_path / "b")
    write_row(first, USER_PROFILE, "anna", **profile())
    assert read(first, "anna")[0] is not None and read(second, "anna") == (None, None)
