"""No step for the dead: rows that are cancelled, late or abandoned enter no further forward."""

import asyncio

import pytest

from diffusion.guidance import Guidance
from server.errors import DeadlineExceeded, Unavailable
from server.sampling.engine import Engine, EngineLimits
from tests.server.sampling.closed_model import (
    WARM_TAG,
    ClosedModel,
    Gated,
    Record,
    largest_gap,
    make_request,
    running,
    until,
)


def forwards_with(model, tag):
    return [number for number, tags in enumerate(model.forwards) if tag in tags]


async def test_a_released_row_never_enters_another_forward():
    model, record = Gated(), Record()
    async with running(model, observer=record) as engine:
        stays = engine.submit([make_request(1, steps=8)])
        leaves = engine.submit([make_request(2, steps=8, seed=2)])
        await model.arrival()
        await until(lambda: engine.num_rows == 2)
        await model.step(4)
        entered = len(model.forwards)
        leaves.release()
        model.open()
        await stays.result
        await until(lambda: engine.num_rows == 0)
    seen = forwards_with(model, 2)
    assert seen and max(seen) < entered
    assert record.num_wasted == len(seen)
    assert record.num_steps == 8 + len(seen)
    assert largest_gap(model, stays) <= 1e-5


async def test_a_row_that_is_released_in_the_queue_is_never_stepped():
    model, record = Gated(), Record()
    async with running(model, observer=record) as engine:
        stays = engine.submit([make_request(1, steps=2)])
        await model.arrival()
        leaves = engine.submit([make_request(2)])
        leaves.release()
        model.open()
        await stays.result
        await until(lambda: engine.num_rows == 0)
    assert not forwards_with(model, 2) and record.num_wasted == 0


async def test_a_cancelled_task_frees_its_row():
    model = Gated()

    async with running(model) as engine:

        async def ask():
            ticket = engine.submit([make_request(1, steps=50)])
            try:
                return await ticket.result
            finally:
                ticket.release()

        asking = asyncio.create_task(ask())
        await model.arrival()
        await model.step(2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        model.open()
        await until(lambda: engine.num_rows == 0)
        assert len(model.forwards) == 3
        assert len(await engine.submit([make_request(2)]).result) == 1


async def test_all_rows_of_a_released_request_leave():
    model, record = Gated(), Record()
    async with running(model, EngineLimits(buckets=(4,)), observer=record) as engine:
        # The first is done after one step and waits for the others.
        rows = [make_request(2, steps=1), make_request(3, steps=9), make_request(4, steps=9)]
        ticket = engine.submit(rows)
        await model.arrival()
        await model.step(2)
        ticket.release()
        model.open()
        await until(lambda: engine.num_rows == 0)
    assert len(model.forwards) == 3
    assert record.num_wasted == 1 + 3 + 3 == record.num_steps


async def test_an_expired_row_never_enters_another_forward():
    model, record, now_s = Gated(), Record(), [0.0]
    async with running(model, observer=record, clock=lambda: now_s[0]) as engine:
        stays = engine.submit([make_request(1, steps=8)])
        late = engine.submit([make_request(2, steps=8, deadline_s=10.0)])
        await model.arrival()
        await until(lambda: engine.num_rows == 2)
        await model.step(4)
        now_s[0], entered = 10.0, len(model.forwards)
        model.open()
        with pytest.raises(DeadlineExceeded):
            await late.result
        await stays.result
        await until(lambda: engine.num_rows == 0)
    seen = forwards_with(model, 2)
    assert seen and max(seen) < entered and record.num_wasted == len(seen)
    assert late.is_released and largest_gap(model, stays) <= 1e-5


async def test_a_row_that_comes_too_late_is_never_stepped():
    model = ClosedModel()
    async with running(model, clock=lambda: 5.0) as engine:
        late = engine.submit([make_request(2, deadline_s=5.0)])
        with pytest.raises(DeadlineExceeded):
            await late.result
        await until(lambda: engine.num_rows == 0)
    assert not model.forwards


async def test_the_most_urgent_rows_step_first_where_not_all_fit():
    model = Gated()
    async with running(model, EngineLimits(buckets=(16,)), clock=lambda: 0.0) as engine:
        first = engine.submit([make_request(0, steps=1)])
        await model.arrival()
        dear = Guidance(2.0, 0.5)  # three rows of a forward of sixteen
        rows = [make_request(tag, guidance=dear, steps=1, deadline_s=20 - tag) for tag in range(9)]
        tickets = [engine.submit([row]) for row in rows]
        model.open()
        await asyncio.gather(first.result, *(ticket.result for ticket in tickets))
    assert [set(tags) for tags in model.forwards] == [{0}, {8, 7, 6, 5, 4}, {3, 2, 1, 0}]


async def test_closing_fails_what_is_open():
    model, record = Gated(), Record()
    async with running(model, observer=record) as engine:
        walking = engine.submit([make_request(1, steps=50), make_request(1, steps=50)])
        await model.arrival()
        await model.step(2)
        waiting = engine.submit([make_request(2)])
        closing = asyncio.create_task(asyncio.to_thread(engine.close))
        await until(lambda: not engine.is_healthy)
        model.open()
        for ticket in (walking, waiting):
            with pytest.raises(Unavailable) as stopped:
                await ticket.result
            assert stopped.value.reason == "ENGINE_STOPPED"
        await closing
        assert engine.num_rows == 0
        with pytest.raises(Unavailable):
            engine.submit([make_request(3)])
    assert record.num_wasted == record.num_steps > 0


async def test_what_is_sampled_before_closing_is_still_decoded():
    """The loop hands over, then stops: the decoder finishes what it was given."""
    model = Gated()
    async with running(model) as engine:
        ticket = engine.submit([make_request(1, steps=1)])
        await model.arrival()
        closing = asyncio.create_task(asyncio.to_thread(engine.close))
        await until(lambda: not engine.is_healthy)
        model.open()
        assert len(await ticket.result) == 1
        await closing
        assert engine.num_rows == 0


async def test_a_request_that_slips_in_while_the_engine_stops_is_told_so():
    """Between the check and the queue lies a moment in which the loop can end."""

    class Slipping(Engine):
        def _start_row(self, request, ticket):
            self.close()
            return super()._start_row(request, ticket)

    engine = Slipping([ClosedModel()])
    engine.start([make_request(WARM_TAG)])
    with pytest.raises(Unavailable):
        await asyncio.wait_for(engine.submit([make_request(1)]).result, 30)


async def test_a_closed_engine_may_be_closed_again():
    async with running(ClosedModel()) as engine:
        await engine.submit([make_request(1)]).result
        await asyncio.to_thread(engine.close)
        assert not engine.is_healthy
