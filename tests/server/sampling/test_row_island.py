"""The engine with the embedded default's own network: shopper B changes nothing of image A."""

import asyncio

import numpy as np
import pytest

from diffusion.fusion import ShopperCondition
from diffusion.guidance import Guidance
from diffusion.samplers import SAMPLERS
from server.sampling.engine import Engine, EngineLimits
from server.sampling.row import RowRequest
from tests.diffusion.tiny import WIDTH, load_model
from tests.server.sampling.closed_model import until


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def product(model):
    square = np.full((32, 32, 4), 255, np.uint8)
    vector = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    return model.prepare_product(square, vector, -vector)


def shopper(number):
    return np.random.default_rng(number).normal(0, 1, WIDTH).astype(np.float32)


@pytest.fixture
def make_row(model, product):
    def make(number, seed=0, steps=5, sampler="heun", scale=1.5, task="preserve"):
        """A row of shopper `number`, or of nobody."""
        known = None if number is None else ShopperCondition(shopper(number))
        guidance = Guidance(1.0, 0.0 if number is None else scale)
        plan = SAMPLERS[sampler](model.sigmas(steps))
        walk = model.rules.plan(product, known, task, guidance, plan, seed)
        return RowRequest(model.name, seed, plan, walk)

    return make


async def sample(model, *requests):
    """Latents and pixels of each request's image, all in the queue of one engine at once."""
    engine = Engine([model], EngineLimits(buckets=(4, 8)))
    engine.start(requests[:1])
    try:
        tickets = [engine.submit([request]) for request in requests]
        pixels = await asyncio.gather(*(ticket.result for ticket in tickets))
        await until(lambda: engine.num_rows == 0)
    finally:
        await asyncio.to_thread(engine.close)
    return [
        (ticket.rows[0].state.x, shown[0]) for ticket, shown in zip(tickets, pixels, strict=True)
    ]


def assert_same(one, other, tolerance=1e-4):
    assert (one[0] - other[0]).abs().max() <= tolerance
    assert np.abs(one[1].astype(int) - other[1]).max() <= 1


async def test_changing_shopper_b_leaves_image_a(model, make_row):
    a, b, c = make_row(1, seed=1), make_row(2, seed=2), make_row(3, seed=2)
    with_b, with_c = await sample(model, a, b), await sample(model, a, c)
    assert_same(with_b[0], with_c[0])
    assert (with_b[1][0] - with_c[1][0]).abs().max() > 1e-3, "b and c are different shoppers"


async def test_company_of_every_kind_leaves_image_a(model, make_row):
    a = make_row(1, seed=1)
    (alone,) = await sample(model, a)
    company = [
        make_row(None, seed=1, steps=2, sampler="euler"),
        make_row(4, seed=9, steps=9, sampler="dpmpp_2m", scale=0.7),
        make_row(5, seed=1, task="restyle", scale=1.0),
    ]
    assert_same((await sample(model, *company, a))[-1], alone)
    assert_same((await sample(model, a, *company))[0], alone)


async def test_nobody_in_the_company_of_shoppers_is_nobody(model, make_row):
    nobody = make_row(None, seed=4)
    (alone,) = await sample(model, nobody)
    together = await sample(model, make_row(1, seed=4), nobody, make_row(2, seed=4))
    assert_same(together[1], alone)
    assert (together[0][0] - alone[0]).abs().max() > 1e-3


async def test_the_same_request_twice_gives_the_same_bytes(model, make_row):
    one, other = [await sample(model, make_row(1, seed=1)) for _ in range(2)]
    assert np.array_equal(one[0][1], other[0][1])
