"""Replicas as one engine: the same pixels, and nothing lost with a replica."""

import asyncio
import time

import numpy as np
import pytest

from server.errors import DeadlineExceeded, Overloaded, SamplingFailed, Unavailable
from server.fleet.pool import MAX_TRIES
from server.fleet.transport import ReplicaLost
from tests.server.fleet.mortal import Mortal, open_pool
from tests.server.sampling.closed_model import (
    Broken,
    ClosedModel,
    Gated,
    make_request,
    running,
    until,
    walk_alone,
)


def pixels_of(model, request):
    return model.decode(walk_alone(model, request)[None])[0]


async def test_pixels_and_what_they_took_are_those_of_the_replica():
    model = ClosedModel()
    async with running(model) as engine:
        pool = open_pool(Mortal(engine))
        await pool.open()
        requests = [make_request(n, seed=n) for n in range(3)]
        ticket = pool.submit(requests)
        found = await ticket.result
        assert all(
            np.array_equal(ours, pixels_of(model, request))
            for ours, request in zip(found, requests, strict=True)
        )
        assert ticket.num_forward_rows == 12 and ticket.sample_s > 0
        await until(lambda: pool.num_rows == 0)
        assert pool.pace.measured_s(pool.key_of("closed")).keys() == {1, 2, 4, 8, 16}
        await pool.shut()


async def test_no_request_is_lost_with_a_replica_and_its_image_is_the_same():
    dying, living = Gated(), ClosedModel()
    async with running(dying) as one, running(living) as other:
        transport = Mortal(one, other)
        pool = open_pool(transport)
        await pool.open()
        requests = [make_request(n, seed=n) for n in range(6)]
        tickets = [pool.submit([request]) for request in requests]
        await dying.arrival()  # in the middle of a walk
        transport.kill_first()
        found = [await ticket.result for ticket in tickets]
        assert all(
            np.array_equal(p[0], pixels_of(living, r)) for p, r in zip(found, requests, strict=True)
        )
        assert len(transport.orders) == 12
        dying.open()
        await until(lambda: one.num_rows == 0)
        await pool.shut()


async def test_steps_that_another_replica_does_again_are_not_told_again():
    dying, living = Gated(), ClosedModel()
    async with running(dying) as one, running(living) as other:
        transport = Mortal(one, other)
        pool = open_pool(transport)
        await pool.open()
        told = []
        ticket = pool.submit([make_request(steps=6)], lambda step, guess: told.append(step))
        await dying.arrival()
        await dying.step(3)
        await until(lambda: told == [1, 2, 3])
        transport.kill_first()
        await ticket.result
        assert told == [1, 2, 3, 4, 5, 6]
        await pool.shut()


async def test_where_one_after_the_other_dies_it_is_unavailable_in_the_end():
    class Doomed(Mortal):
        async def sample(self, order, hear=None):
            self.orders.append(order)
            raise ReplicaLost("it died")

    async with running(ClosedModel()) as engine:
        transport = Doomed(engine)
        pool = open_pool(transport)
        await pool.open()
        with pytest.raises(Unavailable, match="no replica of pool"):
            await pool.submit([make_request()]).result
        assert len(transport.orders) == MAX_TRIES
        await pool.shut()


async def test_an_order_whose_caller_has_left_frees_its_rows_at_the_replica():
    model = Gated()
    async with running(model) as engine:
        pool = open_pool(Mortal(engine))
        await pool.open()
        ticket = pool.submit([make_request(steps=50)])
        await model.arrival()
        ticket.release()
        model.open()
        await until(lambda: engine.num_rows == 0 and pool.num_rows == 0)
        assert len(model.forwards) < 4
        await pool.shut()


async def test_a_deadline_is_kept_and_told_where_the_work_is():
    model = Gated()
    async with running(model) as engine:
        transport = Mortal(engine)
        pool = open_pool(transport)
        await pool.open()
        late = pool.submit([make_request(deadline_s=time.monotonic() + 0.2)])
        with pytest.raises(DeadlineExceeded):
            await late.result
        assert 0 < transport.orders[0].left_s <= 0.2, "clocks of two machines are not compared"
        model.open()
        await until(lambda: engine.num_rows == 0)
        with pytest.raises((DeadlineExceeded, Overloaded)):
            await pool.submit([make_request(steps=90, deadline_s=time.monotonic() + 0.02)]).result
        await pool.shut()


async def test_a_row_that_breaks_its_replica_costs_itself_alone():
    model = Broken(3, kind="nan")
    model.open()
    async with running(model) as engine:
        pool = open_pool(Mortal(engine))
        await pool.open()
        good, bad = pool.submit([make_request(1)]), pool.submit([make_request(3)])
        await good.result
        with pytest.raises(SamplingFailed):
            await bad.result
        await pool.shut()


async def test_what_nobody_foresaw_fails_the_ticket_and_lets_nobody_wait(caplog):
    class Strange(Mortal):
        async def sample(self, order, hear=None):
            raise KeyError("what is that?")

    async with running(ClosedModel()) as engine:
        pool = open_pool(Strange(engine))
        await pool.open()
        with pytest.raises(SamplingFailed, match="sampling of this image failed"):
            await pool.submit([make_request()]).result
        await pool.shut()


async def test_more_rows_than_replicas_hold_are_refused_and_none_without_a_replica():
    model = Gated()
    async with running(model) as engine:
        transport = Mortal(engine)
        pool = open_pool(transport)
        await pool.open()
        held = pool.submit([make_request(n) for n in range(16)])
        with pytest.raises(Overloaded):
            pool.submit([make_request()])
        held.release()
        transport.kill_first()
        await pool._look()
        assert not pool.is_healthy
        with pytest.raises(Unavailable, match="no replica of pool"):
            pool.submit([make_request()])
        await pool.shut()
        assert transport.is_closed


async def test_who_has_no_deadline_does_not_wait_for_ever_for_a_replica():
    now_s = [0.0]
    async with running(Gated()) as engine:
        transport = Mortal(engine)
        pool = open_pool(transport, clock=lambda: now_s[0])
        await pool.open()
        ticket = pool.submit([make_request()])
        transport.kill_first()
        await pool._look()
        assert not ticket.result.done()
        now_s[0] = pool.limits.patience_s + 1
        await pool._look()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(ticket.result, 5)
        await pool.shut()


async def test_walks_are_forgotten_by_every_replica():
    async with running(ClosedModel()) as one, running(ClosedModel()) as other:
        transport = Mortal(one, other)
        pool = open_pool(transport)
        await pool.open()
        await pool.submit([make_request(forks=((2, "taste", 0.5),))]).result
        await until(lambda: one._shared.num_kept)
        pool.forget_walks()
        await until(lambda: transport.num_forgotten and not one._shared.num_kept)
        await pool.shut()
