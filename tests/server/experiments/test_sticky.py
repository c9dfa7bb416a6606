"""Which arm a shopper was given once: kept in bounds, over a store."""

import asyncio
import threading
from collections import defaultdict

from server.experiments import sticky
from server.experiments.sticky import Bucket, StickyMemory


class Shelf:
    """A store that lists what it is asked."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Bucket]] = defaultdict(dict)
        self.asked: list[str] = []

    def get(self, unit):
        self.asked.append(unit)
        return self.buckets[unit]

    def put(self, unit, slot, bucket):
        self.buckets[unit].setdefault(slot, bucket)


A, B = Bucket("a", 0.5), Bucket("b", 0.25)


def test_the_first_bucket_of_a_slot_stays():
    memory = StickyMemory()
    memory.put("unit", "one__0", A)
    memory.put("unit", "one__0", B)
    memory.put("unit", "two__0", B)
    assert memory.get("unit") == {"one__0": A, "two__0": B} and memory.get("other") == {}


def test_the_units_seen_last_are_kept_and_the_oldest_go():
    memory = StickyMemory(max_units=2)
    for unit in ("a", "b"):
        memory.put(unit, "one__0", A)
    memory.get("a")
    memory.put("c", "one__0", A)
    assert [unit for unit in "abc" if memory.get(unit)] == ["a", "c"]


def test_a_store_gets_what_is_new_and_gives_what_was_forgotten():
    shelf = Shelf()
    memory = StickyMemory(shelf, max_units=1)
    memory.put("a", "one__0", A)
    memory.put("b", "one__0", B)
    assert memory.get("a") == {"one__0": A} and shelf.buckets == {
        "a": {"one__0": A},
        "b": {"one__0": B},
    }
    memory.put("a", "one__0", B)
    assert StickyMemory(shelf).get("a") == {"one__0": A}


def test_a_store_is_asked_once_for_a_unit_that_is_remembered_even_for_nothing():
    shelf = Shelf()
    memory = StickyMemory(shelf)
    for _ in range(3):
        assert not memory.get("nobody")
    memory.put("nobody", "one__0", A)
    assert shelf.asked == ["nobody"]


def test_what_the_memory_holds_is_not_what_the_store_hands_out():
    shelf = Shelf()
    shelf.put("a", "one__0", A)
    memory = StickyMemory(shelf)
    memory.put("a", "two__0", B)
    assert shelf.buckets["a"] == {"one__0": A, "two__0": B} == memory.get("a")
    shelf.buckets["a"].clear()
    assert memory.get("a") == {"one__0": A, "two__0": B}


class Slow(Shelf):
    """Answers when it may, and lists by which threads it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.threads: list[int] = []

    def get(self, unit):
        self.threads.append(threading.get_ident())
        assert self.may_answer.wait(30)
        return super().get(unit)


async def test_a_store_is_asked_beside_the_event_loop_and_then_not_again():
    shelf = Slow()
    shelf.may_answer.set()
    shelf.put("a", "one__0", A)
    memory = StickyMemory(shelf)
    await asyncio.gather(*(memory.recall(unit) for unit in ("a", "b", "")))
    assert sorted(shelf.asked) == ["a", "b"], "nobody is not asked for"
    assert threading.get_ident() not in shelf.threads
    await memory.recall("a")
    assert memory.get("a") == {"one__0": A} and memory.get("b") == {}
    assert sorted(shelf.asked) == ["a", "b"]
    await StickyMemory().recall("a")


async def test_a_store_that_does_not_answer_is_done_without(monkeypatch):
    monkeypatch.setattr(sticky, "RECALL_S", 0.05)
    shelf = Slow()
    shelf.put("a", "one__0", B)
    memory = StickyMemory(shelf)
    await memory.recall("a")
    assert memory.get("a") == {}, "which does not wait for it"
    memory.put("a", "one__0", A)
    shelf.may_answer.set()
    monkeypatch.setattr(sticky, "RECALL_S", 30.0)
    shelf.put("b", "one__0", B)
    await memory.recall("b")
    assert memory.get("b") == {"one__0": B} and memory.get("a") == {"one__0": A}


async def test_who_is_forgotten_has_no_bucket_in_memory_any_more():
    memory = StickyMemory()
    memory.put("unit", "slot", Bucket("arm", 0.5))
    assert memory.forget("unit") == 1 and memory.forget("unit") == 0
    assert memory.get("unit") == {}
