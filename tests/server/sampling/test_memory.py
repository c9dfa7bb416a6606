"""Where the memory of a device ends, and where the device itself is gone."""

import asyncio

import pytest
import torch

from diffusion.guidance import Guidance
from server.errors import SamplingFailed, Unavailable
from server.sampling.engine import Engine, EngineLimits
from tests.server.sampling.closed_model import (
    ClosedModel,
    Gated,
    Record,
    largest_gap,
    make_request,
    running,
    until,
)

DEAR = Guidance(2.0, 0.5)


class Small(Gated):
    """Has memory for `room` forward rows, and for none of `heavy` tags."""

    def __init__(self, room, *heavy):
        super().__init__()
        self.room, self.heavy, self.num_failed = room, set(heavy), 0

    def predict(self, x, sigma, cond):
        tags = {int(tag) for tag in cond["tag"]}
        if tags != {-1} and (len(x) > self.room or tags & self.heavy):
            self.num_failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().predict(x, sigma, cond)


class Tight(ClosedModel):
    """Has memory for `room` forward rows, also while warming."""

    def __init__(self, room):
        super().__init__()
        self.room = room

    def predict(self, x, sigma, cond):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().predict(x, sigma, cond)


def gap(model, ticket):
    """Against a walk with room for it."""
    model.heavy = set()
    return largest_gap(model, ticket)


async def sample(model, requests, **limits):
    record = Record()
    async with running(model, EngineLimits(**limits), observer=record) as engine:
        tickets = [engine.submit([request]) for request in requests]
        model.open()
        await asyncio.gather(*(ticket.result for ticket in tickets), return_exceptions=True)
        await until(lambda: engine.num_rows == 0)
        assert engine.is_healthy
        largest = engine.pace.largest
    return tickets, record, largest


async def test_the_bucket_shrinks_until_it_fits_and_the_work_is_done_again():
    model = Small(4)
    requests = [make_request(tag, seed=tag, steps=2 + tag % 3) for tag in range(16)]
    limits = {"buckets": (3, 4, 8, 16), "brisk_s": float("inf")}  # a slow machine packs no less
    tickets, record, largest = await sample(model, requests, **limits)
    assert record.largest == [8, 4] and largest == 4 and model.num_failed == 2
    assert max(gap(model, ticket) for ticket in tickets) <= 1e-5
    assert record.num_steps == sum(len(request.plan) for request in requests)


async def test_what_is_too_large_at_any_size_fails_alone():
    model = Small(16, 2)
    tickets, record, largest = await sample(
        model, [make_request(tag, seed=tag) for tag in range(5)], buckets=(1, 2, 4, 8)
    )
    failed = [isinstance(ticket.result.exception(), SamplingFailed) for ticket in tickets]
    assert failed == [False, False, True, False, False]
    assert largest >= 3, "the rows of one guidance still fit"
    assert max(gap(model, ticket) for ticket in tickets[:2] + tickets[3:]) <= 1e-5


async def test_rows_that_fit_alone_survive_where_no_bucket_can_shrink():
    model = Small(2)
    requests = [make_request(0), make_request(1), make_request(2, guidance=DEAR), make_request(3)]
    tickets, record, largest = await sample(model, requests, buckets=(1, 2, 3))
    failed = [isinstance(ticket.result.exception(), SamplingFailed) for ticket in tickets]
    assert failed == [False, False, True, False] and (largest, record.largest) == (3, [])
    assert max(gap(model, ticket) for ticket in tickets[:2] + tickets[3:]) <= 1e-5


async def test_a_row_by_itself_is_tried_once_more():
    class Full(Small):
        """Fits once somebody else on the device has gone."""

        def predict(self, x, sigma, cond):
            self.heavy = set() if self.num_failed else {0}
            return super().predict(x, sigma, cond)

    model = Full(16)
    (ticket,), record, largest = await sample(model, [make_request(0)], buckets=(1, 3, 8))
    assert len(ticket.result.result()) == 1 and model.num_failed == 1
    assert (largest, record.largest) == (8, [])


@pytest.mark.parametrize(("room", "buckets"), [(4, (1, 3, 4)), (16, (1, 3, 4, 8, 16))])
async def test_warming_gives_up_the_buckets_for_which_there_is_no_room(room, buckets):
    async with running(Tight(room), EngineLimits(buckets=(1, 3, 4, 8, 16))) as engine:
        assert engine.pace.buckets == buckets
        assert len(await engine.submit([make_request(0)]).result) == 1


def test_a_device_too_small_for_the_rows_of_one_guidance_does_not_start():
    engine = Engine([Tight(2)], EngineLimits(buckets=(1, 2, 3)))
    with pytest.raises(torch.OutOfMemoryError):
        engine.start([make_request(-1)])
    engine.close()


async def test_what_was_kept_of_walks_is_given_up_for_memory():
    model, record = Small(16), Record()
    model.open()
    async with running(model, EngineLimits(buckets=(3, 16)), observer=record) as engine:
        await engine.submit([make_request(0)]).result
        assert record.kept_bytes[-1] > 0
        model.room = 3
        await engine.submit([make_request(tag, seed=tag) for tag in range(8)]).result
    assert 0 in record.kept_bytes and record.largest == [3]


@pytest.mark.parametrize("num_others", [0, 4])
async def test_a_device_that_is_gone_is_told_to_all_and_to_readiness(num_others):
    class Lost(Gated):
        def predict(self, x, sigma, cond):
            if (cond["tag"] == 1).any():
                raise torch.AcceleratorError("CUDA error: device-side assert triggered")
            return super().predict(x, sigma, cond)

    model = Lost()
    async with running(model) as engine:
        tickets = [engine.submit([make_request(tag)]) for tag in range(1, num_others + 2)]
        model.open()
        for ticket in tickets:
            with pytest.raises(Unavailable):
                await ticket.result
        await until(lambda: not engine.is_healthy and engine.num_rows == 0)
