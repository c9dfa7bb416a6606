"""Concurrent reads become few: one for each turn of the loop, each key once."""

import asyncio

import pytest

from features.batching import TurnBatcher, collate


class Fetches:
    """Records what it was asked for; answers when `gate` is open."""

    def __init__(self):
        self.asked = []
        self.tasks = []
        self.gate = asyncio.Event()
        self.gate.set()

    def __call__(self, keys, done):
        self.asked.append(keys)

        async def answer():
            await self.gate.wait()
            done({view: {key: f"{view} of {key}" for key in ids} for view, ids in keys.items()})

        self.tasks.append(asyncio.create_task(answer()))


@pytest.fixture
async def fetches():
    return Fetches()


@pytest.fixture
async def batcher(fetches):
    batcher = TurnBatcher(fetches, max_in_flight=1)
    yield batcher
    batcher.close()


async def test_reads_of_one_turn_become_one_fetch_with_each_key_once(batcher, fetches):
    wanted = [[("a", ["1"])], [("a", ["1", "2"]), ("b", ["1"])], [("b", ["3"])]]
    answers = await asyncio.gather(*(batcher.read(one, 10) for one in wanted))
    assert fetches.asked == [{"a": ["1", "2"], "b": ["1", "3"]}]
    assert [answer["b"].get("3") for answer in answers] == ["b of 3"] * 3


async def test_what_is_asked_while_a_fetch_is_under_way_waits_and_goes_together(batcher, fetches):
    fetches.gate.clear()
    reads = [asyncio.create_task(batcher.read([("a", ["0"])], 10))]
    for key in "123":  # turn after turn
        await asyncio.sleep(0.005)
        reads.append(asyncio.create_task(batcher.read([("a", [key])], 10)))
    await asyncio.sleep(0.005)
    assert fetches.asked == [{"a": ["0"]}]
    fetches.gate.set()
    answers = await asyncio.gather(*reads)
    assert fetches.asked == [{"a": ["0"]}, {"a": ["1", "2", "3"]}]
    assert [answer["a"].get(key) for answer, key in zip(answers, "0123", strict=True)] == [
        f"a of {key}" for key in "0123"
    ]


async def test_a_late_fetch_leaves_each_with_its_own_time(batcher, fetches):
    fetches.gate.clear()
    patient = asyncio.create_task(batcher.read([("a", ["1"])], 10))
    assert await batcher.read([("a", ["2"])], 0.01) is None
    assert not patient.done()
    fetches.gate.set()
    assert (await patient)["a"]["1"] == "a of 1"


async def test_no_time_at_all_is_answered_without_a_fetch(batcher, fetches):
    assert await batcher.read([("a", ["1"])], 0) is None
    await asyncio.sleep(0)
    assert fetches.asked == []


async def test_keys_of_those_who_gave_up_are_not_fetched(batcher, fetches):
    fetches.gate.clear()
    first = asyncio.create_task(batcher.read([("a", ["1"])], 10))
    await asyncio.sleep(0.005)
    assert await batcher.read([("a", ["late"])], 0.01) is None
    cancelled = asyncio.create_task(batcher.read([("a", ["cancelled"])], 10))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    second = asyncio.create_task(batcher.read([("a", ["2"])], 10))
    await asyncio.sleep(0)
    fetches.gate.set()
    await asyncio.gather(first, second)
    assert fetches.asked == [{"a": ["1"]}, {"a": ["2"]}]


async def test_one_reader_that_is_cancelled_does_not_disturb_the_others(batcher, fetches):
    fetches.gate.clear()
    reads = [asyncio.create_task(batcher.read([("a", ["1"])], 10)) for _ in range(3)]
    await asyncio.sleep(0.005)
    reads[1].cancel()
    fetches.gate.set()
    answers = await asyncio.gather(*reads, return_exceptions=True)
    assert answers[0] == answers[2] == {"a": {"1": "a of 1"}}
    assert isinstance(answers[1], asyncio.CancelledError)


async def test_an_async_store_is_asked_again_before_it_has_answered():
    fetches = Fetches()
    fetches.gate.clear()
    batcher = TurnBatcher(fetches, max_in_flight=2)
    reads = []
    for key in "123":
        reads.append(asyncio.create_task(batcher.read([("a", [key])], 10)))
        await asyncio.sleep(0.005)
    assert fetches.asked == [{"a": ["1"]}, {"a": ["2"]}]
    fetches.gate.set()
    await asyncio.gather(*reads)


async def test_closing_answers_those_who_wait_with_nothing(fetches):
    fetches.gate.clear()
    batcher = TurnBatcher(fetches, max_in_flight=1)
    reads = [asyncio.create_task(batcher.read([("a", [key])], 10)) for key in "1"]
    await asyncio.sleep(0.005)
    reads.append(asyncio.create_task(batcher.read([("a", ["2"])], 10)))
    await asyncio.sleep(0)
    batcher.close()
    assert await asyncio.gather(*reads) == [None, None]
    fetches.gate.set()
    await asyncio.gather(*fetches.tasks)


def test_keys_keep_the_order_in_which_they_were_first_asked_for():
    asked = [[("b", ["2"])], [("a", ["1"]), ("b", ["1", "2"])]]
    assert collate(asked) == {"b": ["2", "1"], "a": ["1"]}
