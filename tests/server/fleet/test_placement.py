"""Who gets a request: always the same, unless that has too much to do."""

from collections import Counter

import pytest

from server.fleet.placement import Placement

KEYS = [f"walk {number}".encode() for number in range(4000)]


def name_replicas(count):
    return [f"replica-{number}" for number in range(count)]


def place_all(placement, loads=None):
    loads = loads or [0.0] * len(placement)
    return {key: placement.names[placement.order(key, loads, 0.0)[0]] for key in KEYS}


def test_a_walk_has_the_same_replica_at_every_door_and_all_have_their_share():
    placed = place_all(Placement(name_replicas(10)))
    assert placed == place_all(Placement(name_replicas(10)[::-1]))
    shares = Counter(placed.values())
    assert len(shares) == 10 and 0.8 < min(shares.values()) / 400 < max(shares.values()) / 400 < 1.2


def test_a_replica_that_dies_moves_what_was_its_own_and_nothing_else():
    before, names = place_all(Placement(name_replicas(10))), name_replicas(10)
    names.remove("replica-3")
    after = place_all(Placement(names))
    assert {key for key in KEYS if after[key] != before[key]} == {
        key for key in KEYS if before[key] == "replica-3"
    }
    assert len({after[key] for key in KEYS if before[key] == "replica-3"}) == 9


def test_what_everybody_asks_for_spills_over_to_the_next_of_its_own_order():
    placement, key = Placement(name_replicas(10)), KEYS[0]
    first, second, third, *_ = placement.rank(key)
    loads = [1.0] * 10
    loads[first] = 4.0
    assert placement.order(key, loads, 1.3)[0] == second
    assert placement.order(key, loads, 1.3, margin=3.0)[0] == first, "so far it may be ahead"
    loads[second] = 5.0
    order = placement.order(key, loads, 1.7)
    assert order[0] == third and order[-2:] == [first, second], "the least busy of the busy ones"


def test_a_thousand_replicas_are_asked_no_more_than_eight_at_a_time():
    placement = Placement(name_replicas(1000))
    assert all(len(set(placement.rank(key))) == 8 for key in KEYS[:50])
    assert len({placement.rank(key)[0] for key in KEYS}) > 950


def test_two_replicas_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two replicas of one name"):
        Placement(["one", "one"])
