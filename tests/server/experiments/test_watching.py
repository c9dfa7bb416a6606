"""A sample ratio that is off is told while the experiment runs."""

import pytest

from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.events import Event, EventKind, Exposure
from server.experiments.watching import Watcher, count_units
from tests.server.experiments.shoppers import make_experiment


class Ratios(dict):
    def sample_ratio(self, experiment, p_value):
        self[experiment] = p_value


def render(number, arm, unit=None, **told):
    exposure = Exposure(
        f"x{number}", 1e9, unit or f"u{number}", "generic", "mug", 7, "faces", arm, 0.5, **told
    )
    return Event(f"e{number}", EventKind.RENDER, 1e9, exposure)


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
    assert count_units(database, "faces") == {"a": 1, "b": 1}
    assert count_units(database, "others") == {}
