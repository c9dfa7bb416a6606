"""One engine a device, and several models on one device."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from server.errors import Overloaded, Unavailable
from server.sampling.engine import EngineLimits
from server.sampling.router import Router
from tests.server.sampling.closed_model import (
    ClosedModel,
    Gated,
    Record,
    largest_gap,
    make_request,
    running,
    until,
)


@asynccontextmanager
async def two_devices(patience_s=0.25, max_rows=256, tick_s=1.0):
    """A router over two engines whose ticks are known to take a second; nothing steps by itself."""
    limits = EngineLimits(buckets=(4,), max_rows=max_rows)
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(running(Gated(), limits)) for _ in range(2)]
        for engine in engines:
            for _ in range(300):
                engine.pace.record(engine.key_of("closed"), 4, tick_s)
        yield Router(engines, patience_s)


def models(router):
    return [engine.models["closed"] for engine in router.engines]


async def test_requests_go_to_the_device_that_is_less_behind():
    async with two_devices() as router:
        first = router.submit([make_request(0, steps=20)])
        short = [router.submit([make_request(tag, steps=5)]) for tag in range(1, 5)]
        assert [engine.num_rows for engine in router.engines] == [1, 4] and router.num_rows == 5
        last = router.submit([make_request(5, steps=1)])
        assert last.rows[0].request in [
            row.request for ticket in router.engines[0]._tickets for row in ticket.rows
        ], "20 ticks wait on both, and the first comes first"
        for model in models(router):
            model.open()
        for ticket in (first, *short, last):
            assert len(await ticket.result) == 1 and largest_gap(models(router)[0], ticket) <= 1e-5
        await until(lambda: router.num_rows == 0)


async def test_a_device_that_is_gone_gets_nothing_and_the_other_serves_on():
    async with two_devices() as router:
        for model in models(router):
            model.open()
        await asyncio.to_thread(router.engines[0].close)
        assert router.is_healthy
        for tag in range(3):
            assert len(await router.submit([make_request(tag)]).result) == 1
        assert not models(router)[0].forwards
        await asyncio.to_thread(router.close)
        assert not router.is_healthy
        for ask in (router.submit, router.rank):
            with pytest.raises(Unavailable) as stopped:
                ask([make_request(9)])
            assert stopped.value.reason == "ENGINE_STOPPED"


@pytest.mark.parametrize(("patience_s", "where"), [(100.0, [4, 0]), (0.0, [2, 2])])
async def test_walks_that_agree_go_to_one_device_unless_it_is_too_far_behind(patience_s, where):
    async with two_devices(patience_s) as router:
        for tag in range(4):
            router.submit([make_request(tag, forks=[(2, "a", 0.3)])])
        assert sorted(engine.num_rows for engine in router.engines)[::-1] == where


async def test_only_where_all_are_full_is_a_request_refused():
    async with two_devices(patience_s=1000.0, max_rows=2) as router:
        tickets = [router.submit([make_request(tag, forks=[(2, "a", 0)])]) for tag in range(4)]
        assert [engine.num_rows for engine in router.engines] == [2, 2]
        with pytest.raises(Overloaded) as refused:
            router.submit([make_request(9)])
        assert refused.value.retry_after_s > 0
        with pytest.raises(Overloaded):
            router.submit([make_request(9)] * 3)
        for model in models(router):
            model.open()
        await asyncio.gather(*(ticket.result for ticket in tickets))


async def test_only_the_last_walks_are_remembered(monkeypatch):
    monkeypatch.setattr("server.sampling.router.MAX_REMEMBERED", 3)
    async with two_devices() as router:
        requests = [make_request(tag) for tag in range(5)]
        for request in requests:
            router.submit([request])
        assert list(router._last) == [request.walk[0].key for request in requests[2:]]


def test_a_router_needs_a_device():
    with pytest.raises(ValueError, match="at least one"):
        Router([])


class Other(ClosedModel):
    """A second model with its own idea of an image."""

    def predict(self, x, sigma, cond):
        return 0.5 - super().predict(x, sigma, cond)


async def test_two_models_share_an_engine_and_never_a_forward_or_a_walk():
    quality, fast, record = Gated(), Other("fast"), Record()
    limits = EngineLimits(buckets=(1, 2, 4, 8))
    async with running([quality, fast], limits, observer=record) as engine:
        for model in (quality, fast):
            assert set(engine.pace.measured_s(engine.key_of(model.name))) == {1, 2, 4, 8}
        fork = [(3, "a", 0.3)]
        tickets = [
            engine.submit([make_request(tag, model=name, forks=fork, steps=4)])
            for tag, name in enumerate(["closed", "fast"] * 3)
        ]
        quality.open()
        await asyncio.gather(*(ticket.result for ticket in tickets))
        await until(lambda: engine.num_rows == 0)
    assert record.taken_over == [("joined", 3)] * 4
    for tag, ticket in enumerate(tickets):
        assert largest_gap([quality, fast][tag % 2], ticket) <= 1e-5
    assert {tag % 2 for tags in quality.forwards for tag in tags} == {0}
    assert {tag % 2 for tags in fast.forwards for tag in tags} == {1}
