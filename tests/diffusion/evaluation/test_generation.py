"""Pictures in batches: rows are islands, and the walk is the sampler's."""

import numpy as np
import pytest
import torch

from diffusion.denoiser import per_row
from diffusion.evaluation.generation import Order, generate, time_pictures, walk
from diffusion.fusion import fuse
from diffusion.guidance import Given
from diffusion.noise import draw_noise
from diffusion.samplers import plan_euler
from diffusion.taste_buckets import TasteBuckets
from diffusion.walks import Intervals, Rules, find_terms
from tests.diffusion.tiny import WIDTH, load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def product(model):
    rng = np.random.default_rng(0)
    packshot = rng.integers(256, size=(40, 30, 4), dtype=np.uint8)
    return model.prepare_product(packshot, *rng.normal(size=(2, WIDTH)).astype(np.float32))


@pytest.fixture(scope="module")
def shopper():
    return np.random.default_rng(1).normal(size=WIDTH).astype(np.float32)


def make_orders(product, shopper):
    return [
        Order(product, shopper, "preserve", 1.0, 3, 5),
        Order(product, None, "preserve", 1.0, 4, 6),
        Order(product, shopper, "restyle", 2.0, 2, 7),
        Order(product, -shopper, "preserve", 0.0, 3, 8),
        Order(product, shopper, "preserve", 0.5, 5, 5),
    ]


def test_a_picture_is_the_same_whatever_its_batch(model, product, shopper):
    orders = make_orders(product, shopper)
    together = generate(model, orders)
    for batch_rows in (1, 3):
        apart = generate(model, orders, batch_rows)
        assert np.abs(together.astype(int) - apart).max() <= 1
    others = [orders[0], *make_orders(product, -3 * shopper)[1:]]
    assert np.abs(together[0].astype(int) - generate(model, others)[0]).max() <= 1
    assert len({picture.tobytes() for picture in together}) == len(orders)


def test_strength_zero_is_the_picture_for_nobody(model, product, shopper):
    orders = [
        Order(product, whom, "preserve", scale, 3, 9) for whom, scale in ((None, 1), (shopper, 0))
    ]
    nobody, zero = generate(model, orders)
    assert (nobody == zero).all()


def test_the_walk_is_the_guided_samplers(model, product, shopper):
    order = Order(product, shopper, "preserve", 2.0, 3, 5)
    x = draw_noise(5, model.latent_shape)[None] * model.sigmas(3)[0]
    cond = fuse(product, shopper, "preserve")
    for tick in plan_euler(model.sigmas(3)):
        sigma = torch.tensor([tick.sigma])
        plain, both = (model.denoise(x, sigma, cond[g]) for g in (Given.PRODUCT, Given.BOTH))
        x = tick.x_x * x + tick.x_d * (plain + 2 * (both - plain))
    assert torch.allclose(walk(model, [order]), x, atol=1e-4)


@pytest.fixture
def with_intervals(model, monkeypatch):
    """The model with no product in its first tick of four, and a taste in its first two."""
    axis = np.eye(2, WIDTH, dtype=np.float32)
    sigmas = model.sigmas(4)
    intervals = Intervals(product=sigmas[1], shopper=sigmas[2])
    rules = Rules({"preserve": intervals}, TasteBuckets((axis,), axis))
    monkeypatch.setattr(model, "rules", rules)
    return axis


def test_a_walk_with_intervals_knows_each_in_its_own(model, product, shopper, with_intervals):
    order = Order(product, shopper, "preserve", 1.0, 4, 5, taste=3 * with_intervals[1])
    own = fuse(product, shopper, "preserve")
    alike = fuse(product, with_intervals[1], "preserve")
    known = [alike[Given.SHOPPER], alike[Given.BOTH], own[Given.BOTH], own[Given.BOTH]]
    x = draw_noise(5, model.latent_shape)[None] * model.sigmas(4)[0]
    for tick, cond in zip(plan_euler(model.sigmas(4)), known, strict=True):
        x = tick.x_x * x + tick.x_d * model.denoise(x, torch.tensor([tick.sigma]), cond)
    assert torch.allclose(walk(model, [order]), x, atol=1e-4)
    assert [len(find_terms(order.plan(model)[1], number)) for number in range(4)] == [1] * 4


def test_the_taste_is_the_shopper_where_none_is_told(model, product, with_intervals):
    told, silent = (
        Order(product, 2 * with_intervals[0], "preserve", 1.0, 4, 5, taste)
        for taste in (2 * with_intervals[0], None)
    )
    other = Order(product, 2 * with_intervals[0], "preserve", 1.0, 4, 5, with_intervals[1])
    assert torch.equal(walk(model, [told]), walk(model, [silent]))
    assert not torch.allclose(walk(model, [other]), walk(model, [silent]), atol=1e-3)


def test_a_batch_of_walks_with_and_without_a_bucket_is_one_of_islands(
    model, product, shopper, with_intervals
):
    test_a_picture_is_the_same_whatever_its_batch(model, product, shopper)


class OneStep:
    """A family whose latents are flat pixels of what its seed drew first."""

    latent_shape: tuple[int, ...] = (3, 4, 4)
    rules = Rules()

    def sigmas(self, num_steps):
        return [1.0, 0.0]

    def denoise(self, x, sigma, cond):
        return torch.ones_like(x) * (x / per_row(sigma, x))[:, :1, :1, :1]

    def prepare_product(self, packshot, image_embedding, title_embedding):
        raise AssertionError("its products come prepared")

    def decode(self, latents):
        return (latents.clamp(-1, 1) * 127 + 128).byte().permute(0, 2, 3, 1).numpy()


def test_a_family_of_one_step_and_another_latent_is_served_alike(product, shopper):
    order = Order(product, shopper, "preserve", 1.0, 20, 3)
    (picture,) = generate(OneStep(), [order])
    first = draw_noise(3, (3, 4, 4)).flatten()[0].clamp(-1, 1)
    assert (picture == int(first * 127 + 128)).all()


def test_times_are_those_of_one_picture(model, product, shopper):
    orders = make_orders(product, shopper)
    seconds = time_pictures(model, orders, 2, 3)
    assert len(seconds) == 3
    assert all(0 < s < 60 for s in seconds)
