"""The store under one home folder: applied, found again, and nothing anywhere else."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from features.definitions import Lifetimes
from features.schema import PRODUCT_FEATURES, SERVICE, USER_PROFILE, USER_RECENT, VIEWS
from features.store import (
    StoreConfig,
    StoreMissing,
    apply_store,
    clear_store,
    default_home,
    open_store,
)
from features.vector import FingerprintMismatch
from tests.features.stores import make_store, profile, write_row


def test_all_state_lies_under_home_and_none_in_the_working_directory(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    store = make_store(tmp_path / "home")
    write_row(store, USER_PROFILE, "anna", **profile())
    assert list(work.iterdir()) == []
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["store"]


def test_home_is_named_by_the_environment_or_lies_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("ETALAGE_HOME", str(tmp_path / "here"))
    assert default_home() == tmp_path / "here"
    monkeypatch.delenv("ETALAGE_HOME")
    assert default_home() == Path.cwd() / ".etalage"


def test_entities_views_and_the_service_are_in_the_registry(store):
    service = store.feast.get_feature_service(SERVICE)
    projections = [projection.name for projection in service.feature_view_projections]
    assert projections == ["user_profile", "user_recent", "product_features"]
    for view in VIEWS:
        assert [field.name for field in store.view(view).features] == view.features
        assert store.view(view).entities == [view.entity]
    assert store.view(USER_RECENT).stream_source.name == "recent_clicks"


def test_lifetimes_are_configuration(tmp_path):
    lifetimes = Lifetimes(user_profile_s=60, user_recent_s=5, product_features_s=0)
    store = make_store(tmp_path, lifetimes=lifetimes)
    found = [store.view(view).ttl.total_seconds() for view in VIEWS]
    assert found == [60, 5, 0]


def test_applying_again_changes_nothing(store):
    write_row(store, USER_PROFILE, "anna", **profile())
    again = apply_store(store.config, store.fingerprint())
    assert again.fingerprint() == store.fingerprint()
    keys = store.feast.get_online_features(["user_profile:locale"], [{"user_id": "anna"}])
    assert keys.to_dict()["locale"] == ["de"]


def test_applying_with_other_encoders_is_refused_with_both_prints(store):
    with pytest.raises(FingerprintMismatch) as caught:
        apply_store(store.config, "f" * 16)
    assert caught.value.stored == store.fingerprint() and caught.value.expected == "f" * 16


def test_opening_where_nothing_was_applied_says_what_to_do(tmp_path):
    with pytest.raises(StoreMissing, match="python -m server ingest"):
        open_store(StoreConfig(home=tmp_path))


def test_a_cleared_store_is_missing(store):
    clear_store(store.config)
    with pytest.raises(StoreMissing):
        open_store(store.config)


def test_the_registry_is_never_reloaded_in_the_middle_of_a_request(store):
    assert store.feast.config.registry.cache_ttl_seconds == 0


def test_the_database_has_a_write_ahead_log(store):
    with closing(sqlite3.connect(store.config.folder / "online.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_reads_go_on_while_another_process_is_writing(store):
    write_row(store, USER_PROFILE, "anna", **profile(locale="de"))
    writer = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute('DELETE FROM etalage_user_profile')\n"
        "print('writing', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", writer, str(store.config.folder / "online.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout and process.stdout.readline() == "writing\n"
        found = store.feast.get_online_features(["user_profile:locale"], [{"user_id": "anna"}])
        assert found.to_dict()["locale"] == ["de"]


def test_a_store_can_be_moved_with_its_home(tmp_path):
    write_row(make_store(tmp_path / "old"), PRODUCT_FEATURES, "ball", category="sports")
    (tmp_path / "old").rename(tmp_path / "new")
    store = open_store(StoreConfig(home=tmp_path / "new"))
    found = store.feast.get_online_features(["product_features:category"], [{"product_id": "ball"}])
    assert found.to_dict()["category"] == ["sports"]
