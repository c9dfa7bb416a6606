"""Cancelling by id, with a clock in the test's hand."""

import asyncio

import pytest

from server.cancellation import Cancellations, Outcome
from server.errors import Cancelled


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Counter:
    """Answers calls when the test says so."""

    def __init__(self, tombstone_s=30.0, **bounds):
        self.clock = Clock()
        self.cancellations = Cancellations(tombstone_s, clock=self.clock, **bounds)
        self.go = asyncio.Event()
        self.num_started = self.num_stopped = 0

    async def answer(self, request_id, num_tasks=1):
        with self.cancellations.running(request_id) as run:
            for _ in range(num_tasks):
                run.start(self.work())
            return [await task for task in run.tasks]

    async def work(self):
        self.num_started += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.num_stopped += 1
            raise
        return "done"

    async def ask(self, request_id, num_tasks=1):
        call = asyncio.create_task(self.answer(request_id, num_tasks))
        await asyncio.sleep(0.01)
        return call


async def reason_of(call):
    with pytest.raises(Cancelled) as caught:
        await call
    return caught.value.reason


async def test_what_runs_under_the_id_is_cut_off_and_nothing_else():
    counter = Counter()
    ours, other = await counter.ask("a"), await counter.ask("b")
    assert counter.cancellations.cancel("a") == Outcome(1, True)
    assert await reason_of(ours) == "CANCELLED"
    assert counter.num_stopped == 1
    counter.go.set()
    assert await other == ["done"]


async def test_every_call_of_the_id_is_cut_off_and_one_of_many_tasks_counts_once():
    counter = Counter()
    calls = [await counter.ask("a"), await counter.ask("a", num_tasks=3)]
    assert counter.cancellations.cancel("a").num_cancelled == 2
    assert [await reason_of(call) for call in calls] == ["CANCELLED"] * 2
    assert counter.num_stopped == 4


async def test_asking_twice_does_what_asking_once_does():
    counter = Counter()
    call = await counter.ask("a")
    assert counter.cancellations.cancel("a") == Outcome(1, True)
    assert counter.cancellations.cancel("a") == Outcome(0, True)  # it has not even unwound
    assert await reason_of(call) == "CANCELLED"
    assert counter.cancellations.cancel("a") == Outcome(0, True)


async def test_a_cancel_that_comes_first_is_remembered_for_its_time_however_often_it_is_tried():
    counter = Counter()
    counter.go.set()
    assert counter.cancellations.cancel("a") == Outcome(0, True)
    counter.clock.now += 29.9
    for _ in range(2):
        assert await reason_of(counter.answer("a")) == "CANCELLED_BEFORE"
    assert counter.num_started == 0
    assert await counter.answer("b") == ["done"]
    counter.clock.now += 0.2
    assert await counter.answer("a") == ["done"]


async def test_a_retry_of_what_was_cut_off_is_refused():
    counter = Counter()
    call = await counter.ask("a")
    counter.cancellations.cancel("a")
    assert await reason_of(call) == "CANCELLED"
    assert await reason_of(counter.answer("a")) == "CANCELLED_BEFORE"


async def test_an_answer_that_is_known_stays_and_is_not_asked_for_while_something_runs():
    counter = Counter()
    assert counter.cancellations.cancel("a", lambda: True) == Outcome(0, False)
    call = await counter.ask("a")
    assert counter.cancellations.cancel("a", lambda: pytest.fail("asked")) == Outcome(1, True)
    assert await reason_of(call) == "CANCELLED"


async def test_what_is_done_can_no_longer_be_cut_off():
    counter = Counter()
    counter.go.set()
    with counter.cancellations.running("a") as run:
        task = run.start(counter.work())
        assert await task == "done"
        assert counter.cancellations.cancel("a", lambda: True) == Outcome(0, False)


async def test_a_caller_who_leaves_is_not_told_that_somebody_cancelled():
    counter = Counter()
    for is_cancelled_as_well in (False, True):
        call = await counter.ask("a")
        call.cancel()
        if is_cancelled_as_well:
            counter.cancellations.cancel("a")
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_an_error_of_the_work_is_passed_on():
    counter = Counter()
    with pytest.raises(ValueError, match="burnt"):
        with counter.cancellations.running("a"):
            raise ValueError("burnt")
    assert counter.cancellations.cancel("a").num_cancelled == 0


async def test_the_oldest_tombstones_go_where_there_are_too_many():
    counter = Counter(max_tombstones=2)
    counter.go.set()
    for request_id in ("a", "b", "a", "c"):  # "a" was asked for again, so that "b" is the oldest
        counter.cancellations.cancel(request_id)
        counter.clock.now += 1
    assert await counter.answer("b") == ["done"]
    for request_id in ("a", "c"):
        assert await reason_of(counter.answer(request_id)) == "CANCELLED_BEFORE"


async def test_nothing_is_remembered_for_no_time():
    counter = Counter(tombstone_s=0.0)
    assert counter.cancellations.cancel("a") == Outcome(0, False)
    counter.go.set()
    assert await counter.answer("a") == ["done"]
