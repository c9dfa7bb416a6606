"""What goes, and that nothing else does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import insert

from server.database import writing
from server.errors import Unavailable
from server.experiments.event_log import log as log_module
from server.experiments.event_log import retention
from server.experiments.event_log.keeping import keep
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.retention import PIECE, Forgotten, expire, forget
from server.experiments.event_log.tables import exposures, metadata, outcomes, sticky_buckets
from tests.server.experiments.event_log.happenings import (
    NOW_S,
    click,
    exposure,
    read_claims,
    read_ids,
    read_rows,
    render,
)


def write(engine, events, received_s=NOW_S):
    with writing(engine) as connection:
        assert len(keep(connection, events, received_s)) == len(events)


def test_what_was_received_before_goes_and_its_ids_are_free_again(engine):
    write(engine, [render("old-r"), click("old-c")], NOW_S - 10)
    write(engine, [render("new-r", time_s=NOW_S - 99), click("new-c", time_s=NOW_S - 99)])
    assert expire(engine, NOW_S - 10) == 0
    assert expire(engine, NOW_S - 5) == 2
    assert expire(engine, NOW_S - 5) == 0
    assert read_ids(engine) == {"new-r": 1, "new-c": 1}
    assert read_claims(engine) == {"new-r", "new-c"}
    write(engine, [click("old-c"), render("other", exposure("of old-r"))])


def test_it_goes_in_small_pieces(engine):
    write(engine, [click(f"{n}") for n in range(2 * PIECE + 3)], NOW_S - 10)
    write(engine, [click("new")])
    assert [expire(engine, NOW_S) for _ in range(4)] == [PIECE, PIECE, 3, 0]
    assert read_ids(engine) == {"new": 1}


def test_keys_are_not_used_again(engine):
    write(engine, [click("a"), render("b")], NOW_S - 10)
    (before,) = [row["key"] for row in read_rows(engine, outcomes)]
    expire(engine, NOW_S)
    write(engine, [click("c"), render("d")])
    assert read_rows(engine, outcomes)[0]["key"] > before
    assert read_rows(engine, exposures)[0]["key"] > 1


async def test_it_goes_in_the_background_while_others_write(engine, clock, monkeypatch):
    monkeypatch.setattr(log_module, "_EXPIRY_PAUSE_S", 0.01)
    monkeypatch.setattr(retention, "PIECE", 20)
    write(engine, [click(f"old-{n}") for n in range(100)], NOW_S - 61)
    log = EventLog(engine, keep_s=60, clock=clock)
    log.start()
    for turn in range(20):
        assert (await log.append([click(f"{turn}-{n}") for n in range(10)])).num_new == 10
    async with asyncio.timeout(30):
        while any(name.startswith("old") for name in read_claims(engine)):
            await asyncio.sleep(0.01)
    await log.close()
    assert len(read_ids(engine)) == 200


@pytest.mark.parametrize("piece", [PIECE, 3])
def test_all_that_a_shopper_did_is_forgotten_and_nothing_of_others(engine, monkeypatch, piece):
    monkeypatch.setattr(retention, "PIECE", piece)
    for number, unit in enumerate(["anna", "bert", "", "carl", "anna"] * 5):
        seen = exposure(f"x{number}", unit=unit)
        write(engine, [render(f"r{number}", seen), click(f"c{number}", seen)])
    buckets = [
        {"unit": unit, "slot": f"s{n}", "arm": "a", "propensity": 1.0}
        for unit in ("anna", "carl")
        for n in range(2)
    ]
    with writing(engine) as connection:
        connection.execute(insert(sticky_buckets), buckets)
    assert forget(engine, ["anna", "bert", "nobody", ""]) == Forgotten(15, 15, 2)
    for table in (exposures, outcomes):
        left = [row["unit"] for row in read_rows(engine, table)]
        assert sorted(left) == [""] * 5 + ["carl"] * 5
    assert [row["unit"] for row in read_rows(engine, sticky_buckets)] == ["carl"] * 2
    assert read_claims(engine) == read_ids(engine).keys()
    assert forget(engine, ["anna"]) == Forgotten(0, 0, 0)
    write(engine, [render("r0", exposure("x0", unit="dora"))])


async def test_a_log_forgets_while_others_append(log, engine):
    for turn in range(5):
        seen = exposure(f"x{turn}", unit="anna" if turn % 2 else "bert")
        await log.append([render(f"r{turn}", seen)])
    later = [log.append([click(f"c{n}", exposure(unit="carl"))]) for n in range(20)]
    forgotten, *_ = await asyncio.gather(log.forget(["anna"]), *later)
    assert forgotten == Forgotten(2, 0, 0)
    assert len(read_ids(engine)) == 23


async def test_what_can_not_be_forgotten_now_is_told(log, engine):
    metadata.drop_all(engine)
    with pytest.raises(Unavailable):
        await log.forget(["anna"])


def test_forgetting_nobody_or_in_an_empty_log_is_nothing(engine):
    assert forget(engine, ["anna"]) == Forgotten(0, 0, 0)
    write(engine, [render("a")])
    assert forget(engine, []) == Forgotten(0, 0, 0)


def test_more_shoppers_than_a_statement_takes(engine):
    write(engine, [render(f"{n}", exposure(f"{n}", unit=f"unit-{n}")) for n in range(5)])
    assert forget(engine, [f"unit-{n}" for n in range(70_000)]).num_exposures == 5


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_who_is_forgotten_is_in_no_file(engine):
    write(engine, [render("event-of-anna", exposure("x", unit="shopper-anna"))])
    forget(engine, ["shopper-anna"])
    file = Path(engine.url.database or "")
    for path in (file, file.with_name(f"{file.name}-wal")):
        assert b"anna" not in path.read_bytes()
