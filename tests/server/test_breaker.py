"""When a dependency is asked, when it is left alone, and what is told of it."""

import pytest

from server.breaker import Breaker


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Told:
    def __init__(self):
        self.states, self.num_skipped = [], 0

    def breaker(self, dependency, is_open):
        self.states.append((dependency, is_open))

    def breaker_skipped(self, dependency):
        self.num_skipped += 1


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def breaker(clock, told):
    return Breaker("store", told, num_failures=3, rest_s=1.0, clock=clock)


def fail(breaker, clock, times=1):
    for _ in range(times):
        asked_s = breaker.ask()
        assert asked_s is not None
        clock.now += 0.25
        breaker.failed(asked_s)


def test_it_opens_after_so_many_failures_in_a_row_and_a_success_starts_the_row_anew(
    breaker, clock, told
):
    fail(breaker, clock, 2)
    breaker.succeeded()
    fail(breaker, clock, 2)
    assert not breaker.is_open and breaker.ask() is not None
    fail(breaker, clock)
    assert breaker.is_open and breaker.ask() is None
    assert told.states == [("store", False), ("store", True)] and told.num_skipped == 1


def test_half_open_one_asks_in_each_rest_and_the_first_success_closes_it(breaker, clock, told):
    fail(breaker, clock, 3)
    clock.now += 0.99
    assert breaker.ask() is None
    clock.now += 0.02
    assert breaker.ask() == clock.now and breaker.ask() is None
    clock.now += 1.0  # whoever asked has left without a word
    fail(breaker, clock)
    assert breaker.ask() is None
    clock.now += 1.0
    assert breaker.ask() is not None
    breaker.succeeded()
    assert [breaker.ask() for _ in range(3)] == [clock.now] * 3
    assert told.states == [("store", False), ("store", True), ("store", False)]


def test_a_hundred_who_wait_for_one_slow_answer_are_one_failure(breaker, clock):
    asked = [breaker.ask() for _ in range(100)]
    clock.now += 0.25
    for asked_s in asked:
        breaker.failed(asked_s)
    assert not breaker.is_open
    fail(breaker, clock, 2)
    assert breaker.is_open
