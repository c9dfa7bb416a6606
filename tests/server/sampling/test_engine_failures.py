"""A broken row is lost alone: its batch mates come back as if it had never been there."""

import asyncio

import pytest

from server.errors import SamplingFailed, Unavailable
from tests.server.sampling.closed_model import (
    Broken,
    ClosedModel,
    Gated,
    Record,
    largest_gap,
    make_request,
    running,
    until,
)


async def sample(model, requests, **options):
    """One ticket for each request, all in the queue before the first forward."""
    async with running(model, **options) as engine:
        tickets = [engine.submit([request]) for request in requests]
        model.open()
        await asyncio.gather(*(ticket.result for ticket in tickets), return_exceptions=True)
        await until(lambda: engine.num_rows == 0)
        assert engine.is_healthy
        after = engine.submit([make_request(99)])
        await after.result
        assert largest_gap(model, after) <= 1e-5
    return tickets


@pytest.mark.parametrize("kind", ["exception", "nan"])
@pytest.mark.parametrize("poisoned", [{3}, {0}, {0, 5}, {1, 2, 4}], ids=str)
async def test_a_poisoned_row_fails_alone(kind, poisoned):
    model = Broken(*poisoned, kind=kind)
    requests = [make_request(tag, seed=tag, steps=2 + tag % 3) for tag in range(6)]
    tickets = await sample(model, requests)
    for tag, ticket in enumerate(tickets):
        if tag in poisoned:
            assert isinstance(ticket.result.exception(), SamplingFailed)
        else:
            assert largest_gap(model, ticket) <= 1e-5


async def test_a_model_that_never_works_fails_everything_and_stays_up():
    tickets = await sample(Broken(0, 1, 2), [make_request(tag) for tag in range(3)])
    assert all(isinstance(ticket.result.exception(), SamplingFailed) for ticket in tickets)


async def test_a_request_fails_as_a_whole_with_one_of_its_rows():
    model, record = Broken(2), Record()
    async with running(model, observer=record) as engine:
        mixed = engine.submit([make_request(1, seed=1), make_request(2), make_request(3, seed=3)])
        other = engine.submit([make_request(4, seed=4)])
        model.open()
        with pytest.raises(SamplingFailed):
            await mixed.result
        await other.result
        await until(lambda: engine.num_rows == 0)
        assert mixed.is_released and largest_gap(model, other) <= 1e-5
    entered = [set(tags) for tags in model.forwards]
    broken = max(number for number, tags in enumerate(entered) if 2 in tags)
    assert not any(tags & {1, 2, 3} for tags in entered[broken + 1 :])
    assert record.num_steps == 4 + record.num_wasted


async def test_the_exception_is_logged_and_not_told_to_the_request(caplog):
    (ticket,) = await sample(Broken(1), [make_request(1)])
    assert "kernel" not in str(ticket.result.exception())
    (entry,) = caplog.records
    assert entry.levelname == "ERROR" and entry.exc_info and "kernel" in str(entry.exc_info[1])


async def test_each_row_is_observed_once_though_its_first_forward_broke():
    record = Record()
    await sample(Broken(1), [make_request(tag) for tag in range(4)], observer=record)
    assert len(record.queue_s) == 4, "rows 0, 2 and 3, and the one after"


async def test_a_broken_decode_costs_its_own_request_only():
    model = Broken(kind="decode")
    async with running(model) as engine:
        pair = engine.submit([make_request(1), make_request(2)])
        single = engine.submit([make_request(3)])
        model.open()
        with pytest.raises(SamplingFailed):
            await pair.result
        assert len(await single.result) == 1
        await until(lambda: engine.num_rows == 0)
        assert engine.is_healthy


async def test_a_listener_that_breaks_does_not_stop_the_sampling():
    loop, problems = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda loop, context: problems.append(context))

    def on_step(step, guess):
        raise ValueError("no one listens")

    async with running(ClosedModel()) as engine:
        assert len(await engine.submit([make_request(1)], on_step).result) == 1
        assert engine.is_healthy
    assert len(problems) == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_nobody_waits_for_a_loop_that_broke():
    class Explosive(Record):
        def steps(self, count):
            raise RuntimeError("no disk left")

    model = Gated()
    async with running(model, observer=Explosive()) as engine:
        tickets = [engine.submit([make_request(tag)]) for tag in range(3)]
        model.open()
        for ticket in tickets:
            with pytest.raises(Unavailable):
                await ticket.result
        await until(lambda: engine.num_rows == 0)
        assert not engine.is_healthy
        with pytest.raises(Unavailable):
            engine.submit([make_request(4)])
