"""The engine: rows of many requests in one forward, each as if it were alone."""

import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusion.guidance import Guidance
from diffusion.samplers import SAMPLERS
from server.errors import Overloaded, Unavailable
from server.sampling.engine import Engine, EngineLimits
from tests.server.sampling.closed_model import (
    WARM_TAG,
    ClosedModel,
    Gated,
    Record,
    largest_gap,
    level,
    make_request,
    running,
    until,
    walk_alone,
)

TOLERANCE = 1e-5
SCALES = [Guidance(), Guidance(1.0, 1.0), Guidance(1.0, 0.6), Guidance(1.7, 0.6), Guidance(0.0)]


def make_mixture(count=12):
    """Rows that differ in steps, sampler, scales, seed and conditions."""
    return [
        make_request(
            tag,
            seed=100 + tag,
            steps=2 + tag % 5,
            sampler=tuple(SAMPLERS)[tag % len(SAMPLERS)],
            guidance=SCALES[tag % len(SCALES)],
            mean=tag / count,
        )
        for tag in range(1, count + 1)
    ]


async def sample_together(model, requests, **limits):
    """All requests in the queue before the first forward; a ticket for each."""
    async with running(model, EngineLimits(**limits) if limits else None) as engine:
        tickets = [engine.submit([request]) for request in requests]
        model.open()
        await asyncio.gather(*(ticket.result for ticket in tickets))
        await until(lambda: engine.num_rows == 0)
    return tickets


async def test_rows_of_every_kind_share_forwards_and_equal_their_walks_alone():
    model = Gated()
    tickets = await sample_together(model, make_mixture(), buckets=(16,))
    assert max(len(set(forward)) for forward in model.forwards) >= 6
    for ticket in tickets:
        assert largest_gap(model, ticket) <= TOLERANCE


@pytest.mark.parametrize("buckets", [(3,), (16,), (3, 5, 7), (1, 2, 3, 4, 6, 8, 12, 16)])
async def test_the_size_of_a_forward_changes_no_image(buckets):
    model = Gated()
    tickets = await sample_together(model, make_mixture(), buckets=buckets)
    assert {len(forward) for forward in model.forwards} <= set(buckets)
    for ticket in tickets:
        assert largest_gap(model, ticket) <= TOLERANCE


async def test_rows_join_and_leave_between_steps():
    model = Gated()
    async with running(model) as engine:
        slow = engine.submit([make_request(1, steps=6)])
        await model.arrival()
        await model.step(1)
        fast = engine.submit([make_request(2, steps=2, seed=2)])
        await model.step(1)
        model.open()
        await asyncio.gather(slow.result, fast.result)
    assert model.forwards == [[1], [1], [1, 2], [1, 2], [1], [1]]
    assert largest_gap(model, slow) <= TOLERANCE and largest_gap(model, fast) <= TOLERANCE


async def test_the_same_seed_gives_the_same_image_in_any_company():
    asked = make_request(7, seed=42, steps=5)
    pixels = []
    for num_others in (0, 3, 9):
        tickets = await sample_together(Gated(), [*make_mixture(num_others), asked])
        pixels.append(tickets[-1].result.result()[0])
    assert np.abs(np.diff(np.stack(pixels).astype(int), axis=0)).max() <= 1
    (other,) = await sample_together(Gated(), [make_request(7, seed=43, steps=5)])
    assert np.abs(other.result.result()[0].astype(int) - pixels[0]).max() > 10


async def test_images_of_one_request_come_in_the_order_of_their_rows():
    model, requests = ClosedModel(), [make_request(1, seed=seed) for seed in (5, 3, 4)]
    async with running(model) as engine:
        images = await engine.submit(requests).result
    expected = [model.decode(walk_alone(model, request)[None])[0] for request in requests]
    assert len(images) == 3
    for image, wanted in zip(images, expected, strict=True):
        assert np.abs(image.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("guidance", "num_rows"),
    [(Guidance(), 1), (Guidance(1, 1), 1), (Guidance(1, 0.5), 2), (Guidance(2, 0.5), 3)],
)
async def test_a_row_pays_for_the_terms_that_say_something(guidance, num_rows):
    record = Record()
    async with running(ClosedModel(), observer=record) as engine:
        await engine.submit([make_request(steps=3, guidance=guidance)]).result
    assert [rows for _, rows in record.ticks] == [num_rows] * 3
    assert record.num_steps == 3 and record.num_wasted == 0


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
async def test_steps_are_told_in_order_on_the_event_loop(sampler):
    told = []

    def on_step(step, guess):
        told.append((step, tuple(guess.shape), threading.current_thread()))

    async with running(ClosedModel()) as engine:
        await engine.submit([make_request(steps=4, sampler=sampler)], on_step).result
    steps = [step for step, *_ in told]
    assert steps == sorted(steps) and set(steps) - {0} == {1, 2, 3, 4}
    assert {shape for _, shape, _ in told} == {(3, 4, 4)}
    assert {thread for *_, thread in told} == {threading.current_thread()}


async def test_the_last_guess_is_the_image():
    guesses = []
    model = ClosedModel()
    async with running(model) as engine:
        ticket = engine.submit([make_request()], lambda step, guess: guesses.append(guess))
        await ticket.result
    assert torch.allclose(guesses[-1], ticket.rows[0].state.x, atol=1e-6)


async def test_progress_is_that_of_the_slowest_row():
    model, told = Gated(), []
    async with running(model, EngineLimits(buckets=(3,))) as engine:
        # One row fills the forward with its three terms, so the two take turns.
        dear = Guidance(2.0, 0.5)
        rows = [make_request(tag, steps=2, guidance=dear, deadline_s=1e12) for tag in (1, 2)]
        ticket = engine.submit(rows, lambda step, guess: told.append(step))
        await model.arrival()
        model.open()
        await ticket.result
    assert told == [0, 0, 1, 2] or told == [0, 1, 1, 2]


async def test_each_request_knows_how_long_its_stages_took():
    record = Record()
    async with running(ClosedModel(), observer=record) as engine:
        ticket = engine.submit([make_request()])
        await ticket.result
    assert ticket.queue_s >= 0 and ticket.sample_s > 0 and ticket.decode_s > 0
    assert record.queue_s == [ticket.queue_s]


async def test_a_full_engine_refuses_with_a_hint_and_keeps_nothing_of_it():
    model, record = Gated(), Record()
    limits = EngineLimits(buckets=(1, 2, 4), max_rows=4)
    async with running(model, limits, observer=record) as engine:
        first = engine.submit([make_request(1), make_request(1, seed=1), make_request(1, seed=2)])
        with pytest.raises(Overloaded) as refused:
            engine.submit([make_request(2), make_request(2)])
        assert refused.value.retry_after_s > 0 and record.refusals == ["queue_full"]
        assert engine.num_rows == 3
        second = engine.submit([make_request(3)])
        assert engine.num_rows == 4
        model.open()
        await asyncio.gather(first.result, second.result)
        await until(lambda: engine.num_rows == 0)
        assert len(await engine.submit([make_request(4)] * 4).result) == 4
    assert 2 not in {tag for forward in model.forwards for tag in forward}


async def test_sixty_four_requests_at_once_all_come_back_right():
    requests = [
        make_request(tag, seed=tag, steps=1 + tag % 9, guidance=SCALES[tag % len(SCALES)])
        for tag in range(64)
    ]
    model = Gated()
    tickets = await sample_together(model, requests)
    assert max(largest_gap(model, ticket) for ticket in tickets) <= TOLERANCE
    ticks = sum(len(request.plan) for request in requests)
    assert len(model.forwards) < ticks / 3, "forwards are shared"


async def test_rows_that_wait_are_in_the_forecast_of_those_that_come():
    model = Gated()
    async with running(model, EngineLimits(buckets=(4,)), clock=lambda: 0.0) as engine:
        level(engine, tick_s=1.0)
        (demand,) = demands = engine.demand([make_request(steps=10)])
        assert (demand.num_ticks_left, demand.num_forward_rows_left) == (10, 10)
        alone_s = engine.forecast().finish_s(demands)
        assert alone_s == pytest.approx(10, rel=0.01) and engine.load_s() == 0
        ahead = engine.submit([make_request(tag, seed=tag, steps=10) for tag in range(8)])
        assert engine.load_s() == pytest.approx(8 * 10 / 4, rel=0.01)
        assert engine.forecast().finish_s(demands) >= alone_s + 8 * 10 / 4
        assert engine.forecast().admits(engine.demand([make_request(deadline_s=1e9)]))
        assert not engine.forecast().admits(engine.demand([make_request(deadline_s=4.1)]))
        ahead.release()


async def test_an_idle_engine_tries_again_what_was_too_slow_a_while_ago():
    """Who is refused steps no row, and only rows tell how long they take."""
    async with running(ClosedModel()) as engine:
        key = engine.key_of("closed")
        for bucket in 60 * engine.pace.buckets:
            engine.pace.record(key, bucket, 1.0)

        def near():
            return engine.demand([make_request(steps=10, deadline_s=time.monotonic() + 5)])

        assert engine.pace.tick_s(key, 1) > 0.5
        assert engine.forecast().admits(near())
        other = engine.submit([make_request(1, steps=1000)])
        assert not engine.forecast().admits(near()), "there is work that tells how slow it is"
        other.release()
        await until(lambda: engine.num_rows == 0)
        for seed in range(6):
            near_s = time.monotonic() + 5
            await engine.submit([make_request(1, seed=seed, steps=10, deadline_s=near_s)]).result
        assert engine.pace.tick_s(key, 1) < 0.5


async def test_every_bucket_is_warm_before_the_first_request():
    sizes = []

    class Counted(ClosedModel):
        def predict(self, x, sigma, cond):
            sizes.append(len(x))
            return super().predict(x, sigma, cond)

    async with running(Counted()) as engine:
        assert (
            set(sizes)
            == set(engine.pace.buckets)
            == set(engine.pace.measured_s(engine.key_of("closed")))
        )
        assert engine.is_healthy and engine.num_rows == 0


async def test_an_engine_that_was_not_started_takes_nothing():
    engine = Engine([ClosedModel()])
    with pytest.raises(Unavailable) as refused:
        engine.submit([make_request()])
    assert refused.value.reason == "ENGINE_STOPPED" and not engine.is_healthy
    engine.close()


def test_a_forward_that_holds_no_whole_row_is_refused():
    with pytest.raises(ValueError, match="the 3 rows"):
        Engine([ClosedModel()], EngineLimits(buckets=(1, 2)))


async def test_rows_of_several_shapes_of_one_model_share_no_forward():
    model = Gated()
    shapes = ((3, 4, 4), (3, 2, 8))
    requests = [replace(make_request(n, seed=n, steps=3), shape=shapes[n % 2]) for n in range(6)]
    async with running(model) as engine:
        tickets = [engine.submit([request]) for request in requests]
        await model.arrival()
        model.open()
        for ticket, request in zip(tickets, requests, strict=True):
            (pixels,) = await ticket.result
            assert request.shape and pixels.shape == (*request.shape[1:], 3)
            assert largest_gap(model, ticket) <= TOLERANCE
    assert all(len({tag % 2 for tag in tags}) == 1 for tags in model.forwards)


async def test_a_model_joins_while_others_are_sampled():
    first, late = Gated(), ClosedModel("late")
    async with running(first) as engine:
        ticket = engine.submit([make_request(1, steps=4)])
        await first.arrival()
        joined = engine.add(late, [make_request(WARM_TAG, model="late")])
        await first.step(2)
        assert not joined.done(), "one forward of it goes between two of the others"
        first.open()
        await ticket.result
        await asyncio.wrap_future(joined)
        key = engine.key_of("late")
        assert set(engine.pace.measured_s(key)) == set(engine.pace.buckets)
        await engine.submit([make_request(2, model="late")]).result
        engine.remove("late")
        await engine.submit([make_request(3)]).result
        with pytest.raises(KeyError):
            engine.submit([make_request(4, model="late")])
        await until(lambda: engine.num_rows == 0)  # what was refused holds no room


async def test_a_model_that_breaks_while_it_is_warmed_does_not_join():
    class Hollow(ClosedModel):
        def predict(self, x, sigma, cond):
            raise RuntimeError("no kernel for this")

    async with running(ClosedModel()) as engine:
        with pytest.raises(RuntimeError, match="no kernel"):
            await asyncio.wrap_future(engine.add(Hollow("late"), [make_request(-1, model="late")]))
        assert "late" not in engine.models and engine.is_healthy
        await engine.submit([make_request(1)]).result


async def test_nobody_joins_an_engine_that_has_stopped():
    async with running(ClosedModel()) as engine:
        pass
    assert engine.add(ClosedModel("late"), [make_request(-1, model="late")]).cancelled()
