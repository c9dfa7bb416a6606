"""Predictions that stand for the next ones: per row, as far as the error allows, never across."""

import asyncio

import pytest

from server.sampling.engine import EngineLimits
from tests.server.sampling.closed_model import (
    ClosedModel,
    Gated,
    Record,
    largest_gap,
    make_request,
    running,
)

TOLERANCE = 1e-5
SINGLE = EngineLimits(buckets=(16,))


class Straight(Gated):
    """What it predicts is a straight line in t, whatever the sample: reused without an error."""

    def predict(self, x, sigma, cond):
        mean, sigma = (value.view(-1, 1, 1, 1) for value in (cond["mean"], sigma))
        return (mean + 0.5 + 2 * sigma / (1 + sigma)).expand_as(x)


async def sample(model, requests, on_step=None):
    record = Record()
    async with running(model, SINGLE, observer=record) as engine:
        tickets = [engine.submit([request], on_step) for request in requests]
        if isinstance(model, Gated):
            model.open()
        await asyncio.gather(*(ticket.result for ticket in tickets))
    return tickets, record


def num_reused(tickets):
    return [ticket.rows[0].num_ticks_reused for ticket in tickets]


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
@pytest.mark.parametrize(("steps", "reused"), [(1, 0), (2, 0), (3, 0), (4, 1), (9, 6)])
async def test_a_straight_line_is_asked_for_twice_and_for_its_end(sampler, steps, reused):
    model = Straight()
    tickets, record = await sample(model, [make_request(steps=steps, sampler=sampler, reuse=9.0)])
    assert num_reused(tickets) == [reused] == [record.num_reused]
    assert tickets[0].num_forward_rows == len(model.forwards) == steps - reused
    assert record.num_steps == steps and largest_gap(model, tickets[0]) <= TOLERANCE


async def test_heun_reuses_a_straight_line_as_well():
    model = Straight()
    tickets, _ = await sample(model, [make_request(steps=5, sampler="heun", reuse=9.0)])
    assert num_reused(tickets) == [6], "of nine ticks: not the first two, nor the last"
    assert largest_gap(model, tickets[0]) <= TOLERANCE


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
async def test_no_allowed_error_asks_at_every_tick(sampler):
    model, request = Straight(), make_request(steps=6, sampler=sampler)
    tickets, record = await sample(model, [request])
    assert num_reused(tickets) == [0] and record.num_reused == 0
    assert len(model.forwards) == len(request.plan)


async def test_the_more_error_is_allowed_the_less_is_asked_and_the_farther_off_it_ends():
    model, found = ClosedModel(), []
    for reuse in (0.0, 0.01, 0.1, 0.5):
        tickets, _ = await sample(model, [make_request(steps=20, mean=2.0, reuse=reuse)])
        found.append((num_reused(tickets)[0], largest_gap(model, tickets[0])))
    reused, gaps = zip(*found, strict=True)
    assert reused[0] == 0 and list(reused) == sorted(set(reused))
    assert gaps[0] <= TOLERANCE and gaps[1] < 0.02 and gaps[2] < 0.2


async def test_a_neighbour_that_reuses_changes_nobody():
    model = Gated()
    exact = [make_request(tag, seed=tag, steps=8) for tag in (0, 1)]
    loose = [make_request(tag, seed=tag, steps=8, mean=2.0, reuse=0.3) for tag in (2, 3)]
    together, _ = await sample(model, [exact[0], loose[0], exact[1], loose[1]])
    assert largest_gap(model, together[0]) <= TOLERANCE
    assert largest_gap(model, together[2]) <= TOLERANCE
    assert num_reused(together)[::2] == [0, 0] and min(num_reused(together)[1::2]) > 0
    for beside, request in zip(together[1::2], loose, strict=True):
        (alone,), _ = await sample(ClosedModel(), [request])
        assert num_reused([alone]) == num_reused([beside])
        assert (alone.rows[0].state.x - beside.rows[0].state.x).abs().max() <= TOLERANCE


async def test_nothing_is_reused_across_a_fork():
    model = Straight()
    request = make_request(steps=8, reuse=9.0, forks=[(4, "a", -1.0)], mean=2.0)
    tickets, _ = await sample(model, [request])
    assert num_reused(tickets) == [3], "two ticks before the fork, and one between 5 and the last"
    assert largest_gap(model, tickets[0]) <= TOLERANCE


async def test_a_prefix_that_ends_in_a_reused_tick_is_shared_all_the_same():
    model = Straight()
    requests = [
        make_request(tag, steps=8, reuse=9.0, forks=[(4, "a", -1.0)], mean=tag) for tag in (1, 2)
    ]
    tickets, record = await sample(model, requests)
    assert record.taken_over == [("joined", 4)]
    assert sum(rows for _, rows in record.ticks) == 2 + 2 * 3
    assert max(largest_gap(model, ticket) for ticket in tickets) <= TOLERANCE


async def test_steps_that_were_reused_are_told():
    told = []
    await sample(
        Straight(), [make_request(steps=6, reuse=9.0)], lambda step, guess: told.append(step)
    )
    assert told == [1, 2, 3, 4, 5, 6]
