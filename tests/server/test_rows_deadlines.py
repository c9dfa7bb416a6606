"""How many steps fit before a deadline, by what was measured and what waits."""

import time

import pytest

from server.core import DeadlinePolicy, ImageRequest
from server.errors import DeadlineExceeded, Overloaded, Unavailable
from server.rows import Defaults, find_steps
from server.sampling.admission import PRUDENCE
from server.sampling.engine import EngineLimits
from server.sampling.router import Router
from tests.server.sampling.closed_model import (
    ClosedModel,
    Gated,
    Record,
    level,
    make_request,
    running,
)

DEFAULTS = Defaults(min_steps=4)


def find(router, left_s, policy=DeadlinePolicy.STRICT, count=1, steps=20, is_retry=False):
    """For rows of `steps` euler steps with so many seconds left before their own deadline."""
    request = ImageRequest("shoe", deadline_policy=policy)
    deadline_s = None if left_s is None else time.monotonic() + left_s
    rows = [make_request(steps=steps, deadline_s=deadline_s) for _ in range(count)]
    return find_steps(rows, request, router, DEFAULTS, is_retry=is_retry)


@pytest.fixture
async def record():
    return Record()


@pytest.fixture
async def router(record):
    """Of an engine whose every tick was measured to take ten seconds; nothing walks in it."""
    limits = EngineLimits(buckets=(4,), patience_s=1000.0)
    async with running(Gated(), limits, observer=record) as engine:
        level(engine, tick_s=10.0)
        yield Router([engine])


async def test_rows_that_can_be_done_in_time_stay_as_they_are(router, record):
    for policy in DeadlinePolicy:
        assert find(router, 250, policy) == find(router, None, policy) == 20
    assert record.refusals == []


async def test_degrading_takes_as_many_steps_as_there_is_time_for(router, record):
    left_s = PRUDENCE * (115 - 10 / 4)
    assert find(router, 115, DeadlinePolicy.DEGRADE) == left_s // 10
    # Each step of two rows may take a forward of its own, and a share of the other's.
    assert find(router, 115, DeadlinePolicy.DEGRADE, count=2) == left_s // (10 + 10 / 4)
    assert record.refusals == []


@pytest.mark.parametrize("left_s", [39, 1, 0, -5])
async def test_nobody_is_shown_an_image_of_too_few_steps(router, record, left_s):
    with pytest.raises(DeadlineExceeded):
        find(router, left_s, DeadlinePolicy.DEGRADE)
    assert record.refusals == ["deadline"]


async def test_a_retry_that_there_is_no_time_for_counts_as_no_refusal(router, record):
    with pytest.raises(DeadlineExceeded):
        find(router, 39, is_retry=True)
    assert record.refusals == []


async def test_who_asks_for_few_steps_is_not_held_to_the_floor(router):
    assert find(router, 25, DeadlinePolicy.DEGRADE, steps=2) == 2
    with pytest.raises(DeadlineExceeded):
        find(router, 15, DeadlinePolicy.DEGRADE, steps=2)


@pytest.mark.parametrize("left_s", [150, 1, -5])
async def test_a_strict_deadline_that_is_too_near_is_exceeded_at_once(router, left_s):
    with pytest.raises(DeadlineExceeded):
        find(router, left_s)


async def test_where_others_are_in_the_way_the_request_may_come_again(router):
    near_s = time.monotonic() + 250
    ahead = router.submit([make_request(n, steps=20, deadline_s=near_s) for n in range(40)])
    with pytest.raises(Overloaded) as refused:
        find(router, 300)
    assert 0 < refused.value.retry_after_s <= 2000
    with pytest.raises(DeadlineExceeded):
        find(router, 150)  # too near even without them
    ahead.release()


async def test_where_no_device_is_left_that_is_said():
    async with running(ClosedModel()) as engine:
        router = Router([engine])
    with pytest.raises(Unavailable) as stopped:
        find(router, 100)
    assert stopped.value.reason == "ENGINE_STOPPED"
