"""An engine whose loop broke comes back; one that does not is given up."""

import asyncio

import pytest
import torch

from server.errors import Unavailable
from server.sampling.engine import EngineLimits
from server.sampling.revival import EngineLost, Reviver
from tests.server.sampling.closed_model import (
    ClosedModel,
    Gated,
    largest_gap,
    make_request,
    running,
    until,
)


class Fragile(Gated):
    """A device that is gone as long as it `is_gone`; warming is let through."""

    is_gone = False

    def predict(self, x, sigma, cond):
        if self.is_gone:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return super().predict(x, sigma, cond)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def break_down(model, engine):
    """With a request in flight and one in the queue; both are told."""
    model.is_gone = True
    tickets = [engine.submit([make_request(tag, seed=tag)]) for tag in (1, 2)]
    model.open()
    for ticket in tickets:
        with pytest.raises(Unavailable):
            await ticket.result
    await until(lambda: not engine.is_healthy)


async def test_a_broken_loop_is_started_again_and_samples_as_before():
    model, told = Fragile(), []
    async with running(model, EngineLimits(buckets=(1, 4))) as engine:
        late = ClosedModel("late")
        await asyncio.wrap_future(engine.add(late, [make_request(-1, model="late")]))
        await break_down(model, engine)
        with pytest.raises(Unavailable):
            engine.submit([make_request(3)])
        model.is_gone = False
        await Reviver([engine], lambda *news: told.append(news)).look()
        assert told == [("cpu", "restarted")] and engine.is_healthy and engine.num_rows == 0
        for name, known in (("closed", model), ("late", late)):
            ticket = engine.submit([make_request(4, seed=4, model=name)])
            await ticket.result
            assert largest_gap(known, ticket) <= 1e-5
        await until(lambda: engine.num_rows == 0)


async def test_a_device_that_stays_gone_is_given_up_and_the_process_with_it():
    model, told, clock = Fragile(), [], Clock()
    async with running(model, EngineLimits(buckets=(1, 4))) as engine:
        reviver = Reviver([engine], lambda *news: told.append(news), 2, 600.0, clock)
        await break_down(model, engine)
        await reviver.look()
        clock.now += 601
        await reviver.look()
        clock.now += 1
        with pytest.raises(EngineLost):
            await reviver.look()
        assert told == [("cpu", "failed")] * 3


async def test_while_another_device_serves_nothing_is_given_up():
    model = Fragile()
    limits = EngineLimits(buckets=(1, 4))
    async with running(model, limits) as broken, running(ClosedModel(), limits) as sound:
        await break_down(model, broken)
        reviver = Reviver([broken, sound], max_tries=1)
        for _ in range(3):
            await reviver.look()
        assert not broken.is_healthy and sound.is_healthy
