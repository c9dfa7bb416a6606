"""What is exported: every event once, as it was told, in files that are whole and stay so."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime

import duckdb
import fsspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from server.bulk.store import Store, StoreFailed
from server.database import writing
from server.errors import FailedPrecondition
from server.experiments.event_log import export as export_module
from server.experiments.event_log.export import TABLES, export
from server.experiments.event_log.keeping import keep
from server.experiments.event_log.opening import open_events
from server.experiments.event_log.pages import read_page
from server.experiments.event_log.parquet import Layout
from server.experiments.event_log.retention import expire, forget
from server.experiments.event_log.tables import exposures, metadata, outcomes
from tests.server.experiments.event_log.conftest import empty
from tests.server.experiments.event_log.happenings import (
    NOW_S,
    bare,
    buy,
    clear,
    click,
    exposure,
    render,
)


def write(engine, events, received_s=NOW_S):
    with writing(engine) as connection:
        assert len(keep(connection, events, received_s)) == len(events)


def read(folder, name) -> list[dict]:
    files = sorted((folder / name).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def list_parts(folder, name) -> list[str]:
    return sorted(path.name for path in (folder / name).iterdir())


def part(first: int, last: int) -> str:
    return f"{first:019d}-{last:019d}.parquet"


def some(first: int, last: int) -> list:
    return [(render if n % 2 else click)(f"{n:05d}") for n in range(first, last)]


def test_an_exposure_comes_out_as_it_was_told(engine, tmp_path):
    full, empty = exposure("x"), bare("y")
    write(engine, [render("a", full), render("b", empty, NOW_S + 1e-6)], NOW_S + 3)
    assert export(engine, tmp_path) == 2
    rows = read(tmp_path, "exposures")
    for row, told in zip(rows, (full, empty), strict=True):
        expected = asdict(told)
        expected |= {name: list(expected[name]) for name in ("interests", "look", "context")}
        ages = [{"view": view, "age_s": age_s} for view, age_s in told.feature_ages_s]
        expected["feature_ages_s"] = ages
        assert {name: row[name] for name in expected} == expected
    assert [row["event_id"] for row in rows] == ["a", "b"]
    assert rows[0]["seed"] == 2**64 - 1
    assert [row["time_s"] for row in rows] == [NOW_S, NOW_S + 1e-6]
    first = datetime.fromtimestamp(NOW_S, UTC)
    assert rows[0]["event_timestamp"] == first
    assert rows[1]["event_timestamp"] == first.replace(microsecond=first.microsecond + 1)
    assert rows[0]["received_s"] == NOW_S + 3


def test_an_outcome_comes_out_as_it_was_told(engine, tmp_path):
    write(engine, [buy("a", 0.1 + 0.2, exposure("x"))])
    export(engine, tmp_path)
    (row,) = read(tmp_path, "outcomes")
    told = asdict(exposure("x"))
    assert (row["event_id"], row["kind"], row["value"]) == ("a", "purchase", 0.1 + 0.2)
    assert {name: row[name] for name in row.keys() & told.keys()} == {
        name: told[name] for name in row.keys() & told.keys()
    }


def test_both_databases_give_the_same_files(postgresql, tmp_path):
    empty(postgresql)
    for name, url in ("sqlite", f"sqlite:///{tmp_path / 'e.db'}"), ("postgresql", postgresql):
        engine = open_events(url)
        write(engine, [render("a", exposure("x")), render("b", bare("y")), click("c")])
        export(engine, tmp_path / name)
        engine.dispose()
    for table in TABLES:
        one, other = (read(tmp_path / name, table) for name in ("sqlite", "postgresql"))
        assert one == other
        (one, other) = (
            pq.read_schema(next((tmp_path / name / table).iterdir()))
            for name in ("sqlite", "postgresql")
        )
        assert one == other == Layout(TABLES[table]).schema


def test_the_next_export_adds_what_is_new_and_leaves_the_rest_as_it_is(engine, tmp_path):
    write(engine, some(0, 10))
    assert export(engine, tmp_path) == 10
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert export(engine, tmp_path) == 0
    write(engine, some(10, 16))
    assert export(engine, tmp_path) == 6
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert before.items() < after.items() and len(after) == 4
    names = [row["event_id"] for name in TABLES for row in read(tmp_path, name)]
    assert sorted(names) == [f"{n:05d}" for n in range(16)]


def test_nothing_is_exported_as_no_file(engine, tmp_path):
    assert export(engine, tmp_path / "deep" / "er") == 0
    assert [path.name for path in sorted((tmp_path / "deep" / "er").iterdir())] == sorted(TABLES)
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("page_keys", [1, 7, 20, 1000])
def test_parts_are_so_long_and_follow_each_other(engine, tmp_path, monkeypatch, page_keys):
    monkeypatch.setattr(export_module, "PAGE_KEYS", page_keys)
    monkeypatch.setattr(export_module, "PART_KEYS", 20)
    write(engine, [click(f"{n}") for n in range(50)])
    assert export(engine, tmp_path) == 50
    assert list_parts(tmp_path, "outcomes") == [part(1, 20), part(21, 40), part(41, 50)]
    keys = [row["key"] for row in read(tmp_path, "outcomes")]
    assert keys == list(range(1, 51))


def test_what_is_gone_leaves_a_gap_and_stops_nothing(engine, tmp_path):
    write(engine, [click(f"old-{n}") for n in range(10)], NOW_S - 99)
    write(engine, [click("b"), click("of-anna", exposure("x", unit="anna")), click("c")])
    expire(engine, NOW_S - 50)
    forget(engine, ["anna"])
    assert export(engine, tmp_path) == 2
    assert list_parts(tmp_path, "outcomes") == [part(11, 13)]
    write(engine, [click("of-anna-again", exposure("y", unit="anna"))])
    forget(engine, ["anna"])
    assert export(engine, tmp_path) == 0
    write(engine, [click("d")])
    assert export(engine, tmp_path) == 1
    assert list_parts(tmp_path, "outcomes")[1:] == [part(15, 15)]


def test_a_part_of_which_all_is_gone_is_no_file(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "PART_KEYS", 4)
    units = ["bert"] * 4 + ["anna"] * 4 + ["bert"] * 2
    write(engine, [click(f"{n}", exposure(unit=unit)) for n, unit in enumerate(units)])
    forget(engine, ["anna"])
    assert export(engine, tmp_path) == 6
    assert list_parts(tmp_path, "outcomes") == [part(1, 4), part(9, 10)]


@pytest.mark.parametrize("broken", [1, 2, 3])
def test_a_part_that_can_not_be_written_is_written_the_next_time(
    engine, tmp_path, monkeypatch, broken
):
    monkeypatch.setattr(export_module, "PART_KEYS", 20)
    write(engine, [click(f"{n}") for n in range(50)])
    parts = [part(1, 20), part(21, 40), part(41, 50)]
    put = Store.put

    def fail(store, path, data):
        if path.endswith(parts[broken - 1]):
            raise StoreFailed("no space is left")
        put(store, path, data)

    with monkeypatch.context() as full, pytest.raises(StoreFailed):
        full.setattr(Store, "put", fail)
        export(engine, tmp_path)
    assert list_parts(tmp_path, "outcomes") == parts[: broken - 1], "and nothing behind it"
    (tmp_path / "outcomes" / f".{parts[broken - 1]}.unfinished").write_bytes(b"half")
    assert export(engine, tmp_path) == 50 - 20 * (broken - 1)
    assert [row["key"] for row in read(tmp_path, "outcomes")] == [*range(1, 51)]


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_come_out_to_the_last_bit(engine, number):
    clear(engine)
    write(engine, [buy("a", number)])
    with engine.connect() as connection:
        (key,) = connection.execute(select(outcomes.c.key)).scalars()
    assert read_page(engine, Layout(outcomes), key, key)["value"].to_pylist() == [number]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_texts_come_out_whatever_is_in_them(engine, text):
    clear(engine)
    seen = exposure("x", unit=text, product_id=text, interests=(text, text), look=(text,))
    write(engine, [render(f"e{text}", seen)])
    with engine.connect() as connection:
        (key,) = connection.execute(select(exposures.c.key)).scalars()
    (row,) = read_page(engine, Layout(exposures), key, key).to_pylist()
    assert (row["event_id"], row["unit"], row["product_id"]) == (f"e{text}", text, text)
    assert (row["interests"], row["look"]) == ([text, text], [text])


def test_other_file_systems_get_the_same(engine):
    folder = f"memory://events-{time.monotonic_ns()}"
    write(engine, some(0, 10))
    assert export(engine, folder) == 10
    write(engine, some(10, 12))
    assert export(engine, folder) == 2
    files = fsspec.open_files(f"{folder}/*/*.parquet")
    assert len(files) == 4
    rows = []
    for file in files:
        with file as opened:
            rows += pq.read_table(opened).to_pylist()
    assert {row["event_id"] for row in rows} == {f"{n:05d}" for n in range(12)}
    assert not fsspec.filesystem("memory").glob(f"{folder}/*/.*")


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_late_commit_with_earlier_keys_is_not_missed(engine, tmp_path, is_kept):
    """PostgreSQL gives keys before it commits: an export waits for those who have some."""
    is_begun, may_end = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with writing(engine) as connection:
            keep(connection, [click("slow-1"), click("slow-2")], NOW_S)
            is_begun.set()
            may_end.wait(30)
            if not is_kept:
                connection.rollback()

    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(write_slowly)
        assert is_begun.wait(30)
        write(engine, [click("fast")])
        exported = threads.submit(export, engine, tmp_path)
        time.sleep(0.3)
        assert not exported.done()
        may_end.set()
        slow.result()
        assert exported.result() == 3 if is_kept else 1
    write(engine, [click("later")])
    export(engine, tmp_path)
    names = [row["event_id"] for row in read(tmp_path, "outcomes")]
    assert names == [*(["slow-1", "slow-2"] if is_kept else []), "fast", "later"]


def test_exports_while_others_write_have_each_event_once(url, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "PART_KEYS", 10)
    engines = [open_events(url) for _ in range(3)]
    num_turns, num_events = 30, 7

    def write_all(number: int) -> None:
        for turn in range(num_turns):
            write(engines[number], [click(f"{number}-{turn}-{n}") for n in range(num_events)])

    with ThreadPoolExecutor(5) as threads:
        writers = [threads.submit(write_all, number) for number in range(3)]
        num_exported = 0
        while not all(writer.done() for writer in writers):
            both = [threads.submit(export, engine, tmp_path) for _ in range(2)]
            num_exported += sum(each.result() for each in both)
        for writer in writers:
            writer.result()
    num_exported += export(engine, tmp_path)
    keys = [row["key"] for row in read(tmp_path, "outcomes")]
    names = {row["event_id"] for row in read(tmp_path, "outcomes")}
    assert len(keys) == len(names) == num_exported == 3 * num_turns * num_events
    assert keys == sorted(keys)
    for each in engines:
        each.dispose()


def test_the_folder_of_another_database_is_refused(engine, tmp_path):
    write(engine, some(0, 10))
    export(engine, tmp_path)
    metadata.drop_all(engine)
    metadata.create_all(engine)
    write(engine, some(0, 2))
    with pytest.raises(FailedPrecondition, match="exposures.* 5.* 1: they are another's") as caught:
        export(engine, tmp_path)
    assert caught.value.reason == "EXPORT_OF_ANOTHER_DATABASE"


def test_duckdb_reads_it(engine, tmp_path):
    write(engine, [render("a", exposure("x")), click("b", exposure("x")), click("c")])
    export(engine, tmp_path)
    query = f"""
    SELECT e.seed, e.interests[1], e.feature_ages_s[1].view, list_sum(e.context), count(*)
    FROM '{tmp_path}/exposures/*.parquet' e JOIN '{tmp_path}/outcomes/*.parquet' o
    USING (exposure_id) GROUP BY ALL"""
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchall() == [
            (2**64 - 1, "café", "user_profile", 1e300, 1)
        ]
