"""Strict mode with the model that is shipped: the same bytes whatever shares the batch."""

import asyncio

import numpy as np
import pytest
import torch

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.guidance import Guidance
from diffusion.model import ProductDiffusion
from diffusion.samplers import SAMPLERS
from server.sampling.engine import Engine, EngineLimits
from server.sampling.row import RowRequest
from tests.server.sampling.closed_model import Record, until

LIMITS = EngineLimits(buckets=(1, 2, 4, 8), is_strict=True, shared_latents_bytes=0)


@pytest.fixture(scope="module")
def model():
    return ProductDiffusion.load(DEFAULT_CHECKPOINT)


def make_row(model, number, steps, sampler="euler", scale=1.0, task="preserve"):
    """Of a product and a shopper of their own; nobody where the scale is 0."""
    rng = np.random.default_rng(number)
    packshot = rng.integers(256, size=(40, 40, 4), dtype=np.uint8)
    vectors = (0.09 * rng.normal(size=(3, model.encoders.width))).astype(np.float32)
    product = model.prepare_product(packshot, vectors[0], vectors[1])
    shopper = model.rules.know(vectors[2], vectors[2]) if scale else None
    plan = SAMPLERS[sampler](model.sigmas(steps))
    walk = model.rules.plan(product, shopper, task, Guidance(1.0, scale), plan, number)
    return RowRequest(model.name, number, plan, walk)


async def sample(model, requests):
    """Latents of each, all in the queue of one strict engine before its second forward."""
    record = Record()
    engine = Engine([model], LIMITS, record)
    engine.start(requests[:1])
    try:
        tickets = [engine.submit([request]) for request in requests]
        await asyncio.gather(*(ticket.result for ticket in tickets))
        await until(lambda: engine.num_rows == 0)
    finally:
        await asyncio.to_thread(engine.close)
    assert {bucket for bucket, _ in record.ticks} == {8}
    return [ticket.rows[0].state.x for ticket in tickets], record


async def test_the_bytes_are_the_same_alone_in_company_and_at_any_place(model):
    asked = make_row(model, 1, 4)
    company = [
        make_row(model, 2, 2, scale=0.0),
        make_row(model, 3, 3, "heun", scale=0.6),
        make_row(model, 4, 4, "dpmpp_2m"),
        make_row(model, 5, 2, task="restyle"),
        make_row(model, 6, 5),
    ]
    (alone,), _ = await sample(model, [asked])
    first, record = await sample(model, [asked, *company])
    last, _ = await sample(model, [*company, asked])
    assert max(rows for _, rows in record.ticks) >= 5, "they did share forwards"
    assert torch.equal(first[0], alone) and torch.equal(last[-1], alone)
    for one, other in zip(first[1:], last[:-1], strict=True):
        assert torch.equal(one, other)
