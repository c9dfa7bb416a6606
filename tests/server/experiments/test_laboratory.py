"""What stands behind the door: reports one at a time, whoever waits for them."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from features.keys import Keys
from server.errors import ExperimentNotFound
from server.experiments.events import Receipt
from server.experiments.laboratory import Laboratory
from server.experiments.programme import Programme
from server.experiments.recording import Recorder
from server.metrics import Metrics
from tests.server.experiments.shoppers import make_experiment

PROGRAMME = Programme((make_experiment("faces"), make_experiment("sizes")))


class Nowhere:
    async def append(self, events):
        return Receipt(len(events), 0)


@dataclass
class Desk:
    """Makes a report when it may; remembers how many were made, and at once."""

    may_end: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    made: list[str] = field(default_factory=list)
    num_now: int = 0
    most_at_once: int = 0

    def __call__(self, experiment, is_drawn):
        self.num_now += 1
        self.most_at_once = max(self.most_at_once, self.num_now)
        self.begun.release()
        assert self.may_end.wait(30)
        self.num_now -= 1
        self.made.append(experiment.key)
        return f"{experiment.key}: facts", "a page" if is_drawn else ""


def open_laboratory(desk):
    recorder = Recorder(Nowhere(), Keys((b"k" * 32,)), ["faces", "sizes"], Metrics())
    return Laboratory(PROGRAMME, recorder, desk)


async def test_a_report_is_made_of_the_experiment_that_is_asked_for():
    desk = Desk()
    desk.may_end.set()
    laboratory = open_laboratory(desk)
    assert await laboratory.report("sizes", is_drawn=False) == ("sizes: facts", "")
    assert await laboratory.report("faces", is_drawn=True) == ("faces: facts", "a page")
    with pytest.raises(ExperimentNotFound, match="no experiment 'gone'"):
        await laboratory.report("gone", is_drawn=False)
    assert [each.key for each in laboratory.experiments] == ["faces", "sizes"]
    await laboratory.close()


async def test_who_stops_waiting_does_not_make_room_for_a_second_report_at_a_time():
    desk = Desk()
    laboratory = open_laboratory(desk)
    first = asyncio.create_task(laboratory.report("faces", is_drawn=False))
    assert await asyncio.to_thread(desk.begun.acquire, timeout=30)
    second, third = (
        asyncio.create_task(laboratory.report("sizes", is_drawn=False)) for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    third.cancel()
    await asyncio.gather(first, third, return_exceptions=True)
    assert not await asyncio.to_thread(desk.begun.acquire, timeout=0.1)
    desk.may_end.set()
    assert await second == ("sizes: facts", "")
    await laboratory.close()
    assert desk.made == ["faces", "sizes"], "what nobody waits for is not begun"
    assert desk.most_at_once == 1


async def test_closing_waits_for_the_report_that_is_being_made():
    desk = Desk()
    laboratory = open_laboratory(desk)
    report = asyncio.create_task(laboratory.report("faces", is_drawn=False))
    assert await asyncio.to_thread(desk.begun.acquire, timeout=30)
    closing = asyncio.create_task(laboratory.close())
    await asyncio.sleep(0)
    assert not closing.done()
    desk.may_end.set()
    await closing
    assert desk.made == ["faces"] and await report == ("faces: facts", "")
