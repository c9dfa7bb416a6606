"""Who is turned away first where not all have room."""

import random
from collections import Counter, deque
from dataclasses import replace

import pytest

from server.errors import Overloaded
from server.sampling.engine import EngineLimits
from server.sampling.fairness import MEMORY_S, Fairness
from server.sampling.router import Router
from tests.server.sampling.closed_model import Gated, Record, make_request, running, until


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fairness(clock):
    return Fairness(clock=clock)


def test_as_long_as_nobody_is_turned_away_nothing_is_shared_out(fairness):
    assert fairness.admits("large", 100, {"large": 1000, "small": 1})


def test_a_tenant_by_itself_may_have_it_all(fairness):
    fairness.note_refusal("only", {"only": 256})
    assert fairness.admits("only", 4, {"only": 252})


def test_whoever_has_most_leaves_room_for_two_requests_of_each_other(fairness):
    fairness.note_refusal("small", {"large": 16})
    assert fairness.admits("small", 1, {"large": 16})
    assert not fairness.admits("large", 1, {"large": 14})
    assert fairness.admits("large", 1, {"large": 13})
    assert not fairness.admits("large", 1, {"large": 12, "small": 3})
    assert fairness.admits("small", 1, {"large": 12, "small": 3})


def test_nobody_is_kept_below_an_equal_share(fairness):
    fairness.note_refusal("b", {"a": 4, "b": 4, "c": 4})
    held = {"a": 3, "b": 9, "c": 9}
    assert fairness.admits("a", 1, held) and not fairness.admits("b", 1, held)


def test_who_has_nothing_in_flight_is_never_kept_out(fairness):
    fairness.note_refusal("a", {"a": 1, "b": 1})
    assert fairness.admits("c", 24, {"a": 1, "b": 1})


def test_a_refusal_is_forgotten_and_with_it_how_much_room_there_was(fairness, clock):
    fairness.note_refusal("small", {"large": 16})
    clock.now += MEMORY_S
    assert fairness.admits("large", 1, {"large": 16})
    fairness.note_refusal("small", {"large": 4})
    assert not fairness.admits("large", 1, {"large": 4})


@pytest.mark.parametrize("is_fair", [False, True])
def test_a_flood_of_one_tenant_costs_the_others_little_and_leaves_little_room_unused(
    is_fair, clock
):
    """A place of 20 rows that each stay for a second, one tenant at ten times that, one at 0.3."""
    fairness, rng = Fairness(clock=clock), random.Random(3)
    inside: deque[tuple[float, str]] = deque()
    asked: Counter[str] = Counter()
    served: Counter[str] = Counter()
    while clock.now < 160:
        clock.now += rng.expovariate(206)
        while inside and inside[0][0] <= clock.now - 1:
            inside.popleft()
        tenant = "large" if rng.random() < 200 / 206 else "small"
        held = Counter(name for _, name in inside)
        asked[tenant] += 1
        if is_fair and not fairness.admits(tenant, 1, held):
            continue
        if len(inside) == 20:
            fairness.note_refusal(tenant, held)
            continue
        inside.append((clock.now, tenant))
        served[tenant] += 1
    share = served["small"] / asked["small"]
    assert share > 0.8 if is_fair else share < 0.1
    assert served.total() > 0.9 * 60 * 20


async def test_the_router_turns_the_largest_tenant_away_first_and_the_background_never():
    record, model, tenant = Record(), Gated(), "large"
    async with running(model, EngineLimits(buckets=(4,), max_rows=8), observer=record) as engine:
        router = Router([engine], find_tenant=lambda: tenant)
        tickets = [router.submit([make_request(tag)]) for tag in range(8)]
        await model.arrival()
        tenant = "small"
        with pytest.raises(Overloaded):
            router.submit([make_request(8)])
        for ticket in tickets[4:]:
            ticket.release()
        await model.step()
        assert engine.num_rows == 4
        tickets.append(router.submit([make_request(9)]))
        tenant = "large"
        tickets.append(router.submit([make_request(10)]))
        with pytest.raises(Overloaded):
            router.submit([make_request(11)])
        router.submit([replace(make_request(12), is_background=True)])
        assert engine.num_rows == 7
        model.open()
        await until(lambda: engine.num_rows == 0)
    assert record.refusals == ["queue_full", "tenant_share"]
