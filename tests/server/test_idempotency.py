"""Repeats of a request id, with a clock in the test's hand."""

import asyncio

import pytest

from server.errors import InvalidRequest
from server.idempotency import Repeats


class Bakery:
    """Counts what it bakes; the oven opens when the test says so."""

    def __init__(self):
        self.num_started = self.num_cancelled = 0
        self.oven = asyncio.Event()

    async def bake(self):
        self.num_started += 1
        try:
            await self.oven.wait()
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        return f"bread {self.num_started}".encode()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def repeats(clock=None, max_entries=10, max_bytes=1000):
    return Repeats(600.0, max_entries, max_bytes, len, clock or Clock())


async def test_a_repeat_within_the_window_gets_the_first_answer_and_later_a_new_one():
    clock, bakery = Clock(), Bakery()
    bakery.oven.set()
    kept = repeats(clock)
    assert await kept.answer("a", b"x", bakery.bake) == (b"bread 1", False)
    clock.now += 599
    assert await kept.answer("a", b"x", bakery.bake) == (b"bread 1", True)
    clock.now += 2
    assert await kept.answer("a", b"x", bakery.bake) == (b"bread 2", False)


async def test_concurrent_repeats_join_the_first():
    bakery, kept = Bakery(), repeats()
    waiting = [asyncio.create_task(kept.answer("a", b"x", bakery.bake)) for _ in range(5)]
    await asyncio.sleep(0)
    bakery.oven.set()
    answers = await asyncio.gather(*waiting)
    assert bakery.num_started == 1
    assert answers == [(b"bread 1", False)] + [(b"bread 1", True)] * 4


async def test_the_same_id_with_other_content_is_refused_while_running_and_when_kept():
    bakery, kept = Bakery(), repeats()
    first = asyncio.create_task(kept.answer("a", b"x", bakery.bake))
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(InvalidRequest) as caught:
            await kept.answer("a", b"y", bakery.bake)
        assert caught.value.reason == "REQUEST_ID_REUSED"
        assert caught.value.violations[0].field == "request_id"
        bakery.oven.set()
        await first
    assert bakery.num_started == 1


async def test_the_first_to_leave_does_not_take_the_work_from_those_who_joined():
    bakery, kept = Bakery(), repeats()
    first, second = (asyncio.create_task(kept.answer("a", b"x", bakery.bake)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    bakery.oven.set()
    assert await second == (b"bread 1", True)
    assert bakery.num_cancelled == 0


async def test_the_work_stops_when_all_have_left_and_a_later_repeat_starts_anew():
    bakery, kept = Bakery(), repeats()
    waiting = [asyncio.create_task(kept.answer("a", b"x", bakery.bake)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    again = asyncio.create_task(kept.answer("a", b"other content", bakery.bake))
    await asyncio.sleep(0)
    bakery.oven.set()
    assert await again == (b"bread 2", False)
    assert bakery.num_cancelled == 1


async def test_a_failure_reaches_all_who_wait_and_is_not_remembered():
    bakery, kept = Bakery(), repeats()

    async def burn():
        await bakery.oven.wait()
        raise RuntimeError("burnt")

    waiting = [asyncio.create_task(kept.answer("a", b"x", burn)) for _ in range(2)]
    await asyncio.sleep(0)
    bakery.oven.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["burnt", "burnt"]
    assert await kept.answer("a", b"corrected content", bakery.bake) == (b"bread 1", False)


@pytest.mark.parametrize("bounds", [{"max_entries": 3}, {"max_bytes": 3 * len(b"bread 1")}])
async def test_the_oldest_answers_go_when_there_are_too_many_entries_or_bytes(bounds):
    bakery, kept = Bakery(), repeats(**bounds)
    bakery.oven.set()
    for name in "abcd":
        await kept.answer(name, b"x", bakery.bake)
    assert (await kept.answer("d", b"x", bakery.bake))[1]
    assert (await kept.answer("b", b"x", bakery.bake))[1]
    assert await kept.answer("a", b"other content", bakery.bake) == (b"bread 5", False)


async def test_an_answer_larger_than_all_room_is_given_but_not_kept():
    bakery, kept = Bakery(), repeats(max_bytes=3)
    bakery.oven.set()
    assert await kept.answer("a", b"x", bakery.bake) == (b"bread 1", False)
    assert await kept.answer("a", b"x", bakery.bake) == (b"bread 2", False)


async def test_the_answers_of_one_id_are_kept_apart_by_number_under_one_content():
    bakery, kept = Bakery(), repeats()
    bakery.oven.set()
    assert await kept.answer("a", b"x", bakery.bake, number=0) == (b"bread 1", False)
    assert await kept.answer("a", b"x", bakery.bake, number=1) == (b"bread 2", False)
    assert await kept.answer("a", b"x", bakery.bake, number=0) == (b"bread 1", True)
    with pytest.raises(InvalidRequest):
        kept.check("a", b"y")


async def test_answers_of_one_owner_and_those_that_are_theirs_by_anothers_request_are_forgotten():
    kept = repeats()

    async def make(text):
        return text

    for name, text, owner in (("1", "a", "anna"), ("2", "of anna", "bert"), ("3", "c", "bert")):
        await kept.answer(name, b"", lambda text=text: make(text), owner=owner)
    assert kept.forget("anna", lambda text: text.endswith("anna")) == 2
    assert [kept.knows(name) for name in "123"] == [False, False, True]
    assert kept.forget("", lambda text: False) == 0
