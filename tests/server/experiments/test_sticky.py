"""Which arm a shopper was given once: kept in bounds, over a store."""

from collections import defaultdict

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
