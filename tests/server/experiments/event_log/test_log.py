"""What a log promises those who append to it, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pytest
from sqlalchemy import text

from server.database import writing
from server.errors import Overloaded, Unavailable
from server.experiments.event_log.keeping import keep
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.event_log.tables import exposures, outcomes
from server.experiments.events import Event, EventKind, Receipt
from server.experiments.sticky import Bucket
from tests.server.experiments.event_log.happenings import (
    NOW_S,
    bare,
    buy,
    click,
    exposure,
    read_claims,
    read_ids,
    read_rows,
    render,
)


async def test_all_that_is_known_of_an_exposure_is_kept(log, engine, clock):
    clock.now_s = NOW_S + 0.5
    assert await log.append([render("e", exposure("x"))]) == Receipt(1, 0)
    (row,) = read_rows(engine, exposures)
    told = asdict(exposure("x"))
    told |= {name: list(told[name]) for name in ("interests", "look", "context")}
    told["feature_ages_s"] = [{"view": v, "age_s": s} for v, s in exposure("x").feature_ages_s]
    told["seed"] = -1  # 2^64 - 1, with a sign
    assert row.pop("key") > 0
    assert row == {"event_id": "e", "time_s": NOW_S, "received_s": NOW_S + 0.5, **told}


async def test_an_exposure_of_which_little_is_known_is_kept_too(log, engine):
    await log.append([render("e", bare("x"))])
    (row,) = read_rows(engine, exposures)
    assert (row["experiment"], row["interests"], row["context"], row["seed"]) == ("", [], [], 0)
    assert row["is_override"] is False and row["propensity"] == 1.0


async def test_an_outcome_knows_what_most_questions_ask(log, engine):
    await log.append([buy("e", 12.5, exposure("x"))])
    (row,) = read_rows(engine, outcomes)
    assert (row["kind"], row["value"], row["exposure_id"]) == ("purchase", 12.5, "x")
    told = asdict(exposure("x"))
    shared = row.keys() & told.keys()
    assert {name: row[name] for name in shared} == {name: told[name] for name in shared}
    assert shared >= {"unit", "experiment", "arm", "shows", "product_id", "propensity", "minted_s"}


async def test_every_kind_of_event_finds_its_table(log, engine):
    events = [Event(kind.value, kind, NOW_S, exposure(kind.value)) for kind in EventKind]
    assert await log.append(events) == Receipt(len(EventKind), 0)
    assert [row["event_id"] for row in read_rows(engine, exposures)] == ["render"]
    kinds = {row["kind"] for row in read_rows(engine, outcomes)}
    assert kinds == {kind.value for kind in EventKind if kind is not EventKind.RENDER}


async def test_the_same_again_is_known(log, engine):
    events = [render("a"), click("b")]
    assert await log.append(events) == Receipt(2, 0)
    assert await log.append([*events, click("c")]) == Receipt(1, 2)
    assert await log.append([click("d"), click("d")]) == Receipt(1, 1)
    assert read_ids(engine) == {"a": 1, "b": 1, "c": 1, "d": 1}


async def test_an_id_is_one_whatever_happened(log, engine):
    assert await log.append([click("a", exposure("x"))]) == Receipt(1, 0)
    assert await log.append([render("a", exposure("y")), buy("a", 3.0)]) == Receipt(0, 2)
    assert await log.append([render("b", exposure("y"))]) == Receipt(1, 0), "y was not seen yet"
    assert read_ids(engine) == {"a": 1, "b": 1}


async def test_an_image_is_rendered_once_whoever_tells_it(log, engine):
    assert await log.append([render("a", exposure("x")), render("b", exposure("x"))]) == (
        Receipt(1, 1)
    )
    assert await log.append([render("c", exposure("x"))]) == Receipt(0, 1)
    assert await log.append([render("c", exposure("x"))]) == Receipt(0, 1)
    assert read_ids(engine) == {"a": 1}


async def test_an_outcome_may_come_before_its_exposure(log, engine):
    assert await log.append([click("b", exposure("x"))]) == Receipt(1, 0)
    assert await log.append([render("a", exposure("x"), NOW_S - 60)]) == Receipt(1, 0)
    assert read_ids(engine) == {"a": 1, "b": 1}


async def test_ids_that_differ_a_little_differ(log, engine):
    ids = ["a", "A", "a ", " a", "ä", "a\u0308", "😀", "'; DROP TABLE etalage_exposures; --", "%s"]
    assert await log.append([click(each) for each in ids]) == Receipt(len(ids), 0)
    assert await log.append([click(each) for each in ids]) == Receipt(0, len(ids))
    assert read_ids(engine) == dict.fromkeys(ids, 1)


async def test_nothing_is_nothing(log):
    assert await log.append([]) == Receipt(0, 0)


async def test_who_comes_together_is_written_together_and_told_apart(log, engine):
    batches = [[click(f"{n}"), click("shared"), render(f"r{n}", exposure("x"))] for n in range(40)]
    receipts = await asyncio.gather(*map(log.append, batches))
    assert sum(receipt.num_new for receipt in receipts) == 42
    assert all(receipt.num_new + receipt.num_known == 3 for receipt in receipts)
    assert all(receipt.num_new >= 1 for receipt in receipts)
    assert max(read_ids(engine).values()) == 1
    times = {row["received_s"] for row in read_rows(engine, outcomes)}
    assert times == {NOW_S}


async def test_a_batch_of_many_is_kept_as_one(log, engine):
    events = [(click if number % 3 else render)(f"{number}") for number in range(10_000)]
    assert await log.append(events) == Receipt(10_000, 0)
    assert await log.append(events) == Receipt(0, 10_000)


async def test_servers_that_share_a_database_keep_each_event_once(url, engine, clock):
    logs = [EventLog(open_events(url), clock=clock) for _ in range(3)]
    for log in logs:
        log.start()
    news = []
    for turn in range(10):
        events = [click(f"{turn}-{number}") for number in range(50)]
        events += [render(f"{turn}-r{number}") for number in range(50)]
        each = [log.append(events[::step]) for log, step in zip(logs, (1, -1, 1), strict=True)]
        news.append(sum(receipt.num_new for receipt in await asyncio.gather(*each)))
    for log in logs:
        await log.close()
    assert news == [100] * 10
    assert set(read_ids(engine).values()) == {1} and len(read_ids(engine)) == 1000


async def test_only_so_many_wait(engine, clock):
    log = EventLog(engine, max_waiting=10, clock=clock)  # not started: they all wait
    waiting = [asyncio.create_task(log.append([click(f"{n}{m}") for m in "abcd"])) for n in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await log.append([click("c"), click("d"), click("e")])
    assert caught.value.retry_after_s > 0 and log.num_waiting == 8
    more = asyncio.create_task(log.append([click("c"), click("d")]))
    await asyncio.sleep(0)
    log.start()
    assert await asyncio.gather(*waiting, more) == [Receipt(4, 0), Receipt(4, 0), Receipt(2, 0)]
    assert log.num_waiting == 0
    await log.close()


async def test_a_batch_that_is_larger_than_all_room_goes_alone(engine, clock):
    log = EventLog(engine, max_waiting=10, clock=clock)
    log.start()
    assert await log.append([click(f"{n}") for n in range(50)]) == Receipt(50, 0)
    await log.close()


async def test_who_has_left_is_not_written(engine, clock):
    log = EventLog(engine, clock=clock)
    gone = asyncio.create_task(log.append([click("gone")]))
    stays = asyncio.create_task(log.append([click("stays")]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    log.start()
    assert await stays == Receipt(1, 0)
    await log.close()
    assert read_ids(engine) == {"stays": 1}


async def test_what_waits_when_it_closes_is_written_and_nothing_after_that(engine, clock):
    log = EventLog(engine, clock=clock)
    waiting = [asyncio.create_task(log.append([click(f"{n}")])) for n in range(20)]
    await asyncio.sleep(0)
    log.start()
    await log.close()
    assert await asyncio.gather(*waiting) == [Receipt(1, 0)] * 20
    with pytest.raises(Unavailable) as caught:
        await log.append([click("late")])
    assert caught.value.reason == "STOPPING"
    assert len(read_ids(engine)) == 20


async def test_a_log_has_its_sticky_buckets(log, url):
    log.sticky_buckets.put("anna", "a__0", Bucket("warm", 0.5))
    await log.close()
    other = EventLog(open_events(url))
    assert other.sticky_buckets.get("anna") == {"a__0": Bucket("warm", 0.5)}
    await other.close()


@pytest.mark.parametrize("bad", [buy("bad", float("nan")), click("bad\ud800")])
async def test_what_can_not_be_kept_fails_alone(engine, clock, bad):
    log = EventLog(engine, clock=clock)
    batches = [[click("a"), render("b")], [click("c"), bad], [click("d")]]
    tasks = [asyncio.create_task(log.append(batch)) for batch in batches]
    await asyncio.sleep(0)
    log.start()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, third) == (Receipt(2, 0), Receipt(1, 0))
    assert isinstance(second, Exception) and not isinstance(second, Unavailable)
    assert await log.append([click("c")]) == Receipt(1, 0), "nothing of it was kept"
    await log.close()
    assert read_ids(engine) == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert read_claims(engine) == {"a", "b", "c", "d"}


def test_a_commit_is_on_disk_as_far_as_the_database_promises_it(engine):
    if engine.dialect.name == "sqlite":
        with writing(engine) as connection:
            pragmas = ("journal_mode", "synchronous", "secure_delete")
            found = [connection.execute(text(f"PRAGMA {each}")).scalar() for each in pragmas]
        assert found == ["wal", 2, 1]
        return
    with writing(engine) as connection:  # however it is set for others
        connection.execute(text("SET synchronous_commit = off"))
        keep(connection, [click("a")], NOW_S)
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
