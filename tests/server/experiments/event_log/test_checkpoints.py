"""SQLite's log begins anew, however long others write."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.database import move_log
from server.experiments.event_log import checkpoints
from server.experiments.event_log.log import EventLog
from tests.server.experiments.event_log.happenings import click, read_ids

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

PAGE_BYTES = 4096


async def test_the_log_stays_short_under_writes_without_an_end(engine, clock, monkeypatch):
    monkeypatch.setattr(checkpoints, "NUM_ROWS", 50)
    monkeypatch.setattr(checkpoints, "LONG", 200)
    log = EventLog(engine, clock=clock)
    log.start()
    for turn in range(600):
        await log.append([click(f"{turn}-{n}") for n in range(20)])
    file = Path(f"{engine.url.database}-wal")
    num_pages = file.stat().st_size / PAGE_BYTES
    await log.close()
    assert num_pages < 1500, num_pages
    assert len(read_ids(engine)) == 12_000


async def test_by_itself_sqlite_would_let_it_grow(engine, clock):
    """Or the test above could not fail."""
    log = EventLog(engine, clock=clock)
    log.start()
    for turn in range(600):
        await log.append([click(f"{turn}-{n}") for n in range(20)])
    num_pages = Path(f"{engine.url.database}-wal").stat().st_size / PAGE_BYTES
    await log.close()
    assert num_pages > 2500, num_pages


def test_all_of_the_log_can_be_moved(engine):
    move_log(engine)
    assert move_log(engine, "TRUNCATE") == 0
