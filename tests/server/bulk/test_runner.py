"""Many requests at once, each on its own."""

import asyncio
import dataclasses
import math
import threading
from dataclasses import dataclass

import pytest

from features.records import FeaturesUnavailable
from server.bulk import runner as runners
from server.bulk.record import Failure, Record
from server.bulk.runner import EngineBroken, Runner
from server.bulk.store import Store, StoreFailed
from server.core import ImageRequest, Personalization, Reason
from server.errors import InvalidRequest, Overloaded, Unavailable, Violation
from tests.server.doors.sketching import Sketcher


@dataclass(frozen=True)
class Row:
    name: str
    number: int = 1
    digest: str = "00"
    product: str = "chair"
    num_images: int = 1

    def open(self):
        if self.product == "unreadable":
            raise InvalidRequest(Violation("packshot", "can't be read"))
        return ImageRequest(self.product, "someone", num_images=self.num_images)


class Full(Sketcher):
    """Has room for so many at once, and remembers the most there were."""

    def __init__(self, room=100, num_unread=0):
        super().__init__()
        self.room, self.most, self.num_refused, self.num_unread = room, 0, 0, num_unread

    async def generate(self, request, on_event=None):
        if self.num_running >= self.room:
            self.num_refused += 1
            raise Overloaded(0.01)
        result = await super().generate(request, on_event)
        self.most = max(self.most, self.num_running + 1)
        if self.num_unread:
            self.num_unread -= 1
            account = Personalization(Reason.FEATURES_UNAVAILABLE)
            return dataclasses.replace(result, personalization=account)
        return result


def explain(error):
    return Failure("CODE", type(error).__name__, str(error))


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path))
    store.make_folders("images")
    return store


def rows(count, **told):
    return [Row(f"r{number}", number, **told) for number in range(1, count + 1)]


async def run(runner, tasks):
    records: list[Record] = []
    await runner.run(tasks, records.extend)
    return {record.name: record for record in records}


async def test_every_row_is_made_once_and_its_images_are_in_the_store(store):
    tasks = [*rows(50), Row("three", 51, num_images=3)]
    records = await run(Runner(Full(), store, explain), tasks)
    assert len(records) == 51 and all(each.is_finished for each in records.values())
    assert [each["path"] for each in records["three"].images] == [
        f"images/three~{number}.png" for number in range(3)
    ]
    assert len(store.list_files("images")) == 53
    assert "someone" not in str(records), "the shopper's id stays out of it"


async def test_as_many_are_under_way_as_it_is_told_and_a_full_engine_is_waited_for(store):
    sketcher = Full(room=3)
    sketcher.pace_s = 0.002
    records = await run(Runner(sketcher, store, explain, num_in_flight=8), rows(40))
    assert sketcher.most == 3 and sketcher.num_refused
    assert all(each.is_finished for each in records.values())
    roomy = Full()
    roomy.pace_s = 0.002
    await run(Runner(roomy, store, explain, num_in_flight=8), rows(40))
    assert roomy.most == 8


async def test_who_never_finds_room_fails_and_the_others_do_not(store):
    tasks = [*rows(3), Row("big", 4, product="crowded")]
    records = await run(Runner(Full(), store, explain, patience_s=0.3), tasks)
    assert records["big"].failure.reason == "Overloaded"
    assert sum(each.is_finished for each in records.values()) == 3


async def test_a_row_that_fails_says_why_and_the_others_go_on(store):
    products = ["unknown", "unreadable", "cursed", "torn"]
    tasks = [*rows(4), *(Row(product, product=product) for product in products)]
    records = await run(Runner(Full(), store, explain), tasks)
    told = [records[product].failure.reason for product in products]
    assert told == ["ProductNotFound", "InvalidRequest", "ValueError", "SamplingFailed"]
    assert sum(each.is_finished for each in records.values()) == 4


class Moody(Full):
    """Raises the errors, one after the other, and makes images after that."""

    def __init__(self, *errors):
        super().__init__()
        self.errors = list(errors)
        self.num_asked = 0

    async def generate(self, request, on_event=None):
        self.num_asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return await super().generate(request, on_event)


LOADING = Unavailable("the model is being exchanged", "MODEL_LOADING")
LATE = FeaturesUnavailable("a", "the store was late")


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(runners, "_LONGEST_WAIT_S", 0.001)


async def test_features_and_models_that_are_away_are_waited_for(store, hasty):
    moody = Moody(*[LOADING, LATE] * 30)
    records = await run(Runner(moody, store, explain, outage_s=math.inf), [Row("a")])
    assert records["a"].is_finished and moody.num_asked == 61
    records = await run(Runner(Full(num_unread=30), store, explain, outage_s=math.inf), [Row("a")])
    assert records["a"].account["reason"] == "applied"


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        (lambda: Moody(LOADING), "Unavailable"),
        (lambda: Moody(LATE), FeaturesUnavailable.__name__),
        (lambda: Full(num_unread=1), "Unavailable"),
    ],
)
async def test_who_waits_too_long_fails_and_gets_no_generic_image(store, hasty, pipeline, reason):
    records = await run(Runner(pipeline(), store, explain, outage_s=0.0), [Row("a")])
    assert records["a"].failure.reason == reason


async def test_what_is_a_product_s_own_fault_is_not_waited_for(store, hasty, monkeypatch):
    monkeypatch.setattr(runners, "_MOMENT_S", 0.01)
    torn = FeaturesUnavailable("a", "its row is invalid", is_passing=False)
    moody = Moody(*[torn] * 9)
    records = await run(Runner(moody, store, explain, outage_s=math.inf), [Row("a")])
    assert records["a"].failure.message == str(torn) and moody.num_asked == 1
    moody = Moody(*[Unavailable("its packshot can't be read", "PACKSHOT_UNAVAILABLE")] * 1000)
    records = await run(Runner(moody, store, explain, outage_s=math.inf), [Row("a")])
    assert not records["a"].is_finished and 1 < moody.num_asked < 1000


async def test_a_broken_engine_is_waited_for_by_nobody(store):
    moody = Moody(*[Unavailable("the sampling engine is not running", "ENGINE_STOPPED")] * 9)
    runner = Runner(moody, store, explain, outage_s=math.inf, is_healthy=lambda: False)
    with pytest.raises(EngineBroken, match="has stopped"):
        await run(runner, [Row("a")])


async def test_records_are_kept_one_group_after_the_other_off_the_event_loop(store):
    groups, threads = [], set()
    is_keeping = threading.Lock()

    def keep(records):
        assert is_keeping.acquire(blocking=False)
        threads.add(threading.current_thread())
        groups.append(len(records))
        is_keeping.release()

    await Runner(Full(), store, explain).run(rows(100), keep)
    assert sum(groups) == 100 and threading.main_thread() not in threads


async def test_what_is_written_is_kept_when_a_run_is_cancelled(store):
    sketcher = Full()
    records: list[Record] = []
    tasks = [*rows(8), *rows(1000, product="patient")]
    work = asyncio.create_task(
        Runner(sketcher, store, explain, num_in_flight=4).run(tasks, records.extend)
    )
    async with asyncio.timeout(20):
        while len(records) < 8 or sketcher.num_running < 4:
            await asyncio.sleep(0.001)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert sketcher.num_running == 0 and sketcher.num_cancelled == 4
    assert len(records) == 8 and all(each.is_finished for each in records)
    sketcher.go.set()
    await asyncio.sleep(0.05)
    assert len(records) == 8


@pytest.mark.parametrize("which", ["images", "records"])
async def test_a_store_that_fails_stops_the_run(store, monkeypatch, which):
    sketcher = Full()
    records: list[Record] = []
    sketcher.pace_s = 0.001

    def be_full(*arguments):
        raise StoreFailed("no space is left")

    def keep(group):
        records.extend(group)
        if which == "records" and len(records) > 5:
            be_full()

    if which == "images":
        monkeypatch.setattr(store, "write", be_full)
    with pytest.raises(StoreFailed, match="no space is left"):
        await Runner(sketcher, store, explain, num_in_flight=4).run(rows(1000), keep)
    assert len(sketcher.requests) < 50 and not sketcher.num_running


async def test_an_engine_that_stopped_ends_the_run_instead_of_failing_every_row(store):
    runner = Runner(Full(), store, explain, is_healthy=lambda: False)
    with pytest.raises(EngineBroken, match="has stopped"):
        await run(runner, rows(10, product="torn"))


async def test_rows_that_can_not_be_read_any_more_end_the_run(store):
    def read():
        yield from rows(3)
        raise ValueError("the file has changed")

    with pytest.raises(ValueError, match="the file has changed"):
        await run(Runner(Full(), store, explain), read())
