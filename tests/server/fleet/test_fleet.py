"""Each model has its own replicas: a request goes where its model is."""

import pytest

from server.errors import Overloaded, Unavailable
from server.fleet.fleet import Fleet
from tests.server.fleet.mortal import Mortal, open_pool
from tests.server.sampling.closed_model import ClosedModel, Gated, make_request, running, until


async def test_a_request_goes_to_the_replicas_of_its_model_and_of_no_other():
    one, other = ClosedModel("one"), ClosedModel("other")
    async with running(one) as first, running(other) as second:
        pools = [
            open_pool(Mortal(first), "first", ["one"]),
            open_pool(Mortal(second), "second", ["other"]),
        ]
        fleet = Fleet(pools)
        for pool in pools:
            await pool.open()
        assert fleet.is_healthy
        for model in ("one", "other", "other"):
            await fleet.submit([make_request(model=model)]).result
        assert (len(one.forwards), len(other.forwards)) == (4, 8)
        with pytest.raises(Unavailable):
            fleet.submit([make_request(model="unknown")])
        await fleet.remove(pools[0])
        with pytest.raises(Unavailable):
            fleet.submit([make_request(model="one")])
        await fleet.submit([make_request(model="other")]).result
        await fleet.close_all()
        assert not fleet.is_healthy or not fleet.engines


async def test_the_tenant_with_most_rows_is_refused_first_here_as_well():
    model, whose = Gated(), ["greedy"]
    async with running(model) as engine:
        pool = open_pool(Mortal(engine))
        fleet = Fleet([pool], lambda: whose[0])
        await pool.open()
        for tenant in ["greedy"] * 15 + ["modest"]:
            whose[0] = tenant
            fleet.submit([make_request()])
        with pytest.raises(Overloaded):
            fleet.submit([make_request()])
        pool.tickets[0].release()
        await until(lambda: pool.num_rows == 15)
        whose[0] = "greedy"
        with pytest.raises(Overloaded):
            fleet.submit([make_request()])
        whose[0] = "modest"
        fleet.submit([make_request()])
        held = fleet._count_held()
        assert held == {"greedy": 14, "modest": 2}
        for ticket in pool.tickets:
            ticket.release()
        model.open()
        await until(lambda: engine.num_rows == 0)
        await fleet.close_all()
