"""A database that does not answer, that is locked, that is full or that goes and comes back."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from sqlalchemy import event, text

from server.errors import Unavailable
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.events import Receipt
from tests.server.experiments.event_log.happenings import (
    click,
    exposure,
    read_claims,
    read_ids,
    render,
)
from tests.server.postgresql import running, why_not

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
def mortal():
    """A PostgreSQL of one's own, to be stopped."""
    if reason := why_not():
        pytest.skip(reason)
    with running() as server:
        yield server


async def appended(log, events) -> Receipt:
    """As a shop does it: again until it is acknowledged."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await log.append(events)
            except Unavailable:
                await asyncio.sleep(0.02)


@contextmanager
def locked(engine):
    """Somebody else holds what a writer needs."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("LOCK TABLE etalage_event_ids IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


async def test_a_database_that_does_not_answer_in_time_is_unavailable_and_then_works_again(
    url, engine, clock
):
    log = EventLog(open_events(url), timeout_s=1.0, clock=clock)
    log.start()
    with locked(engine):
        for name in "ab":
            with pytest.raises(Unavailable) as caught:
                await log.append([click(name), render(f"r{name}")])
            assert caught.value.reason == "EVENTS_UNAVAILABLE"
    await appended(log, [click("a"), click("c")])
    await log.close()
    ids = read_ids(engine)
    assert ids.keys() >= {"a", "c"} and set(ids.values()) == {1}
    assert "b" not in ids, "who did not wait is not written"


@on_sqlite
async def test_a_full_disk_is_told_keeps_nothing_by_halves_and_is_over_when_there_is_room(
    url, engine, clock
):
    limit = {"pages": 40}

    def limit_pages(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {limit['pages']}")

    full = open_events(url)
    event.listen(full, "connect", limit_pages)
    full.dispose()
    log = EventLog(full, clock=clock)
    log.start()
    kept = await fill(log)
    assert read_ids(engine) == dict.fromkeys(kept, 1)
    assert read_claims(engine) == set(kept)
    limit["pages"] = 100_000
    full.dispose()
    assert await log.append([click("again"), click(kept[0])]) == Receipt(1, 1)
    await log.close()


@on_postgresql
async def test_postgresql_says_that_its_disk_is_full(log, engine):
    """A trigger says so, in the words and with the number of the server."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE OR REPLACE FUNCTION overflow() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION "
                "'could not extend file' USING ERRCODE = 'disk_full'; END $$ LANGUAGE plpgsql"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER overflow BEFORE INSERT ON etalage_outcomes "
                "EXECUTE FUNCTION overflow()"
            )
        )
    with pytest.raises(Unavailable) as caught:
        await log.append([render("r"), click("a")])
    assert caught.value.reason == "EVENTS_DISK_FULL"
    assert not read_claims(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER overflow ON etalage_outcomes"))
    assert await log.append([render("r"), click("a")]) == Receipt(2, 0)


async def fill(log) -> list[str]:
    """Until nothing more goes in; the ids of what did."""
    kept: list[str] = []
    for turn in range(1000):
        events = [click(f"{turn}-{n}", exposure(unit="x" * 100)) for n in range(20)]
        try:
            assert await log.append(events) == Receipt(20, 0)
        except Unavailable as error:
            assert error.reason == "EVENTS_DISK_FULL"
            return kept
        kept += [each.event_id for each in events]
    raise AssertionError


def test_a_disk_that_is_really_full(tmp_path):
    """A file system of a megabyte, in a process that may mount one for itself."""
    mount = f"mount -t tmpfs -o size=1m none {tmp_path}"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*command, mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this process may not mount")
    drill = f"{sys.executable} -m tests.server.experiments.event_log.full_disk {tmp_path}"
    ended = subprocess.run([*command, f"{mount} && {drill}"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "full, and then not" in ended.stdout


async def test_a_server_that_was_restarted_between_two_appends_is_not_noticed(mortal, clock):
    log = EventLog(open_events(mortal.url), clock=clock)
    log.start()
    assert await log.append([click("a")]) == Receipt(1, 0)
    mortal.stop(signal.SIGQUIT)
    mortal.start()
    assert await log.append([click("a"), click("b")]) == Receipt(1, 1)
    await log.close()


async def test_a_server_that_is_gone_is_unavailable_until_it_is_back(mortal, clock):
    log = EventLog(open_events(mortal.url), clock=clock)
    log.start()
    mortal.stop()
    with pytest.raises(Unavailable) as caught:
        await log.append([click("a")])
    assert caught.value.reason == "EVENTS_UNAVAILABLE"
    mortal.start()
    assert await log.append([click("a")]) == Receipt(1, 0)
    await log.close()


async def test_no_event_is_lost_or_doubled_by_a_server_that_dies_under_load(mortal, clock):
    engine = open_events(mortal.url)
    log = EventLog(engine, clock=clock)
    log.start()
    is_over = asyncio.Event()

    async def shop(name: int) -> list[str]:
        acknowledged, turn = [], 0
        while not is_over.is_set():
            events = [(click if n % 2 else render)(f"{name}-{turn}-{n}") for n in range(30)]
            await appended(log, events)
            acknowledged += [each.event_id for each in events]
            turn += 1
        return acknowledged

    shops = [asyncio.create_task(shop(name)) for name in range(6)]
    for _ in range(3):
        await asyncio.sleep(0.3)
        await asyncio.to_thread(mortal.stop, signal.SIGQUIT)
        await asyncio.to_thread(mortal.start)
    await asyncio.sleep(0.3)
    is_over.set()
    acknowledged = [name for names in await asyncio.gather(*shops) for name in names]
    ids = read_ids(engine)
    await log.close()
    assert set(acknowledged) <= ids.keys() and set(ids.values()) == {1}
    assert len(acknowledged) > 500


@on_sqlite
async def test_a_file_that_is_no_database_is_unavailable(url, engine, clock):
    engine.dispose()
    log = EventLog(engine, clock=clock)
    log.start()
    with open(engine.url.database, "wb") as file:
        file.write(b"something else" * 1000)
    with pytest.raises(Unavailable) as caught:
        await log.append([click("a")])
    assert caught.value.reason == "EVENTS_UNAVAILABLE"
    await log.close()
