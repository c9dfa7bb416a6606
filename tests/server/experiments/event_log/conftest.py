"""An event log on either database."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import VERSIONS, open_events
from server.experiments.event_log.tables import metadata
from tests.server.experiments.event_log.happenings import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    """Of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / '100%' / 'events.db'}"
    url = request.getfixturevalue("postgresql")
    empty(url)
    return url


def empty(url: str) -> None:
    engine = create_engine(url)
    metadata.drop_all(engine)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {VERSIONS}"))
    engine.dispose()


@pytest.fixture
def engine(url):
    engine = open_events(url)
    yield engine
    engine.dispose()


@pytest.fixture
async def log(engine, clock):
    log = EventLog(engine, clock=clock)
    log.start()
    yield log
    await log.close()
