"""A process that is killed, again and again, while it appends."""

from __future__ import annotations

import random
import signal

import pytest

from server.experiments.event_log.opening import open_events
from tests.server.experiments.event_log.drill import NUM_EVENTS, Drill, count_doubled, read_ids
from tests.server.postgresql import running, why_not

NUM_KILLS = 3


def check(drill: Drill) -> None:
    engine = open_events(drill.url)
    assert drill.count_lost(engine) == 0
    assert count_doubled(engine) == 0
    assert len(read_ids(engine)) % NUM_EVENTS == 0, "a batch is there as a whole or not at all"
    engine.dispose()


def test_no_acknowledged_event_is_lost_and_none_doubled(url, tmp_path):
    draw = random.Random(7)
    drill = Drill(url, tmp_path / "acknowledged")
    for _ in range(NUM_KILLS):
        drill.kill_at_work(draw)
        check(drill)
    assert len(drill.read_acknowledged()) > NUM_KILLS


def test_nor_are_they_when_the_database_dies_with_it(tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    draw = random.Random(8)
    with running() as server:
        drill = Drill(server.url, tmp_path / "acknowledged")
        for _ in range(2):
            process = drill.start()
            drill.wait_for_work(process, draw)
            server.stop(signal.SIGQUIT)  # under its hands
            server.start()
            drill.wait_for_work(process, draw)
            process.kill()
            process.wait()
            check(drill)
