"""A sample ratio that is off is told while the experiment runs."""

import asyncio
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from server.experiments.definition import BanditSettings
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.events import Event, EventKind, Exposure
from server.experiments.watching import Watcher, count_units
from tests.server.experiments.shoppers import make_experiment


class Ratios(dict):
    def sample_ratio(self, experiment, p_value):
        self[experiment] = p_value


def render(number, arm, unit=None, time_s=1e9, **told):
    exposure = Exposure(
        f"x{number}", 1e9, unit or f"u{number}", "generic", "mug", 7, "faces", arm, 0.5, **told
    )
    return Event(f"e{number}", EventKind.RENDER, time_s, exposure)


@pytest.fixture
async def database(tmp_path):
    engine = open_events(f"sqlite:///{tmp_path / 'events.db'}")
    yield engine
    engine.dispose()


async def fill(database, events):
    log = EventLog(database)
    log.start()
    await log.append(events)
    await log.close()


def watch(database, **told):
    experiment = make_experiment("faces", 0.5, 0.5, **told)
    names = [arm.name for arm in experiment.arms]
    ratios = Ratios()
    return Watcher(database, [experiment], ratios), names, ratios


async def test_an_even_split_is_likely_and_an_uneven_one_is_not(database):
    watcher, (one, other), ratios = watch(database)
    await fill(database, [render(n, one if n % 2 else other) for n in range(400)])
    await watcher.look()
    assert ratios["faces"] > 0.9
    await fill(database, [render(n, one) for n in range(400, 600)])
    await watcher.look()
    assert ratios["faces"] < 1e-6


async def test_each_shopper_counts_once_and_forced_arms_do_not(database):
    await fill(
        database,
        [
            *(render(n, "a", unit="same") for n in range(5)),
            render(5, "b"),
            render(6, "b", is_override=True),
        ],
    )
    assert count_units(database, make_experiment("faces")) == {"a": 1, "b": 1}
    assert count_units(database, make_experiment("others")) == {}


async def test_what_was_before_the_start_was_another_experiment(database):
    start = datetime.fromtimestamp(1e9, UTC)
    await fill(database, [render(n, "a", time_s=1e9 - 1) for n in range(50)])
    await fill(database, [render(n, "b") for n in range(50, 53)])
    assert count_units(database, make_experiment("faces", start=start)) == {"b": 3}


class Moments(Ratios):
    """Tells when something is told."""

    def __init__(self):
        self.told = asyncio.Event()

    def sample_ratio(self, experiment, p_value):
        super().sample_ratio(experiment, p_value)
        self.told.set()


def rename(database, old, new):
    with database.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


async def test_a_look_that_fails_is_told_once_and_further_ones_are_made(database):
    ratios, experiment = Moments(), make_experiment("faces")
    await fill(database, [render(n, "01"[n % 2]) for n in range(400)])
    watcher = Watcher(database, [experiment], ratios, pause_s=0.01)
    await watcher.look()  # and so what it needs is imported
    ratios.told.clear()
    rename(database, "etalage_exposures", "hidden")
    with capture_logs() as told:
        watcher.start()
        async with asyncio.timeout(30):
            while not told:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # for more that fail
            rename(database, "hidden", "etalage_exposures")
            await ratios.told.wait()
        await watcher.close()
    assert [each["event"] for each in told] == ["sample ratios can't be told"]
    assert ratios["faces"] > 0.9


async def test_a_bandit_and_what_does_not_run_are_not_looked_at(database):
    later = make_experiment("later", start=datetime(2100, 1, 1, tzinfo=UTC))
    bandit, ratios = make_experiment("bandit", bandit=BanditSettings()), Ratios()
    watcher = Watcher(database, [later, bandit], ratios)
    await watcher.look()
    assert ratios == {}
