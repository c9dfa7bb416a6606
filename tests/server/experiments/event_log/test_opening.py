"""Databases of every age become those of this version, or are refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from server.database import open_engine, writing
from server.experiments.event_log.keeping import keep
from server.experiments.event_log.opening import (
    VERSIONS,
    DatabaseUnusable,
    open_events,
    read_revision,
    upgrade,
)
from server.experiments.event_log.tables import metadata
from tests.server.experiments.event_log.happenings import NOW_S, click, read_ids, render


def differences(engine) -> list:
    def is_ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or name in metadata.tables

    with engine.connect() as connection:
        options = {"version_table": VERSIONS, "include_name": is_ours, "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_migrations_end_in_the_tables_that_the_code_knows(engine):
    assert differences(engine) == []
    assert metadata.tables.keys() <= set(inspect(engine).get_table_names())


def test_a_difference_would_be_seen(engine):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE etalage_outcomes ADD COLUMN more TEXT"))
    assert len(differences(engine)) == 1


def test_an_older_database_is_brought_up_to_date_with_what_it_holds(url):
    engine = open_engine(url)
    upgrade(engine, "0001")
    assert differences(engine) != []
    with writing(engine) as connection:
        keep(connection, [render("a"), click("b")], NOW_S)
    engine.dispose()
    engine = open_events(url)
    assert differences(engine) == []
    assert read_ids(engine) == {"a": 1, "b": 1}
    with writing(engine) as connection:
        assert keep(connection, [click("b"), click("c")], NOW_S) == {"c"}
    engine.dispose()


def test_a_database_of_a_later_version_is_refused_by_name_and_left_alone(url):
    engine = open_events(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSIONS} SET version_num = '9999'"))
    with pytest.raises(DatabaseUnusable, match="'9999'.*up to '0003'"):
        open_events(url)
    with engine.connect() as connection:
        assert read_revision(connection) == "9999"
    engine.dispose()


def test_of_servers_that_start_at_once_one_makes_the_tables(url, monkeypatch):
    runs = []
    migrate = command.upgrade

    def count(config, revision):
        runs.append(revision)
        migrate(config, revision)

    monkeypatch.setattr(command, "upgrade", count)
    with ThreadPoolExecutor(6) as processes:
        engines = list(processes.map(open_events, [url] * 6))
    assert len(runs) == 1
    for engine in engines:
        assert differences(engine) == []
        engine.dispose()


def test_a_migration_that_breaks_off_leaves_the_database_as_it_was(url, monkeypatch):
    engine = open_engine(url)
    upgrade(engine, "0001")
    migrate = command.upgrade

    def break_off(config, revision):
        migrate(config, revision)
        raise ZeroDivisionError

    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr(command, "upgrade", break_off)
        upgrade(engine)
    with engine.connect() as connection:
        assert read_revision(connection) == "0001"
    assert "etalage_sticky_buckets" not in inspect(engine).get_table_names()
    upgrade(engine)
    assert differences(engine) == []
    engine.dispose()


def test_other_kinds_of_databases_are_refused():
    with pytest.raises(DatabaseUnusable, match="mysql.*sqlite or postgresql"):
        open_events("mysql+pymysql://nobody@127.0.0.1:1/nothing")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_that_keeps_nothing_is_refused(url):
    with pytest.raises(DatabaseUnusable, match="without a file"):
        open_events(url)
