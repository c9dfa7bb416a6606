"""The restorer: a model of the sampling engine whose rows begin at the damaged picture."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.damage_levels import KINDS, PLACES, LevelEstimator, agree, expect
from diffusion.image_model import Route
from diffusion.restoration import (
    NUM_CHANNELS,
    NUM_FACTS,
    RESTORER,
    Restorer,
    cut_tiles,
    fill_holes,
    join_tiles,
    mix,
    save_index,
)
from diffusion.samplers import plan_euler
from diffusion.scenes import Scene, render_scene
from diffusion.training.damage import MAX_NOISE, add_noise
from diffusion.unet import UNet
from server.sampling.engine import Engine, EngineLimits
from server.sampling.row import RowRequest

SIDE = 64


def make_network(seed=0):
    """With weights in every last layer, which a fresh network starts without."""
    torch.manual_seed(seed)
    network = UNet(NUM_CHANNELS, 3, widths=(8, 12), num_blocks=(1, 1), num_facts=NUM_FACTS)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restorer")
    make_network().save_pretrained(folder / "network")
    LevelEstimator((4, 4, 4, 4)).save_pretrained(folder / "estimator")
    save_index(folder, "tiny", SIDE, 2)
    return folder


@pytest.fixture(scope="module")
def restorer(folder):
    return Restorer.load(folder)


def draw_picture(height=SIDE, width=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def conditions(damaged, level=0.25):
    count, _, height, width = damaged.shape
    return {
        "damaged": damaged,
        "mask": torch.zeros(count, 1, height, width),
        "levels": torch.full((count, len(KINDS)), level),
    }


def test_a_step_of_euler_is_a_step_of_indi():
    """Delbracio and Milanfar (2023), eq. 8: x' = δ/t E[clean | x] + (1 - δ/t) x."""
    for tick, following in zip(plan_euler([1.0, 0.75, 0.5, 0.0]), (0.75, 0.5, 0.0), strict=True):
        share = (tick.sigma - following) / tick.sigma
        assert (tick.x_d, tick.x_x, tick.noise) == pytest.approx((share, 1 - share, 0))


def test_one_that_knows_the_truth_walks_straight_to_it():
    clean, damaged = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    x = damaged
    for tick in plan_euler([1.0, 0.6, 0.3, 0.0]):
        assert torch.allclose(x, mix(clean, damaged, torch.full((2,), tick.sigma)), atol=1e-6)
        x = tick.x_x * x + tick.x_d * clean
    assert torch.allclose(x, clean, atol=1e-6)


def test_a_route_begins_at_the_damaged_tile_without_noise(restorer):
    tile, hole = draw_picture(), np.zeros((SIDE, SIDE), np.bool_)
    hole[4:9] = True
    route = restorer.plan(tile, hole, num_steps=3)
    assert isinstance(route, Route)
    assert (route.noise_scale, route.shape) == (0.0, (3, SIDE, SIDE))
    assert [tick.sigma for tick in route.plan] == pytest.approx([1, 2 / 3, 1 / 3])
    assert route.image is not None
    assert np.array_equal(restorer.decode(route.image[None])[0], tile)
    (segment,) = route.walk
    assert segment.stop == 3
    (term,) = segment.terms
    assert term.weight == 1 and term.cond["mask"].sum() == 5 * SIDE
    assert len(restorer.plan(tile).plan) == restorer.preset.num_steps == 2


def test_walks_are_the_same_where_tile_mask_and_steps_are(restorer):
    tile, mask = draw_picture(), np.ones((SIDE, SIDE), np.bool_)
    known = (tile, None, None, np.full(len(KINDS), 0.75, np.float32))
    keys = [
        restorer.plan(*told).walk[0].key
        for told in ((tile,), (tile, mask), (draw_picture(seed=1),), (tile, None, 3), known)
    ]
    assert len(set(keys)) == 5
    assert restorer.plan(tile.copy(), np.zeros_like(mask)).walk[0].key == keys[0]


def test_a_tile_of_another_size_is_refused(restorer):
    with pytest.raises(ValueError, match="tile of 64 px"):
        restorer.plan(draw_picture(32, 32))


def test_rows_do_not_know_of_each_other(restorer):
    """A neighbour that is not a number changes nothing."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 3, SIDE, SIDE, generator=generator)
    sigma = torch.tensor([1.0, 0.5, 0.25])
    cond = conditions(x.clone())
    alike = restorer.denoise(x, sigma, cond)
    assert alike.dtype == torch.float32 and alike.shape == x.shape
    x[1] = float("nan")
    changed = restorer.denoise(x, sigma, cond)
    assert torch.equal(changed[[0, 2]], alike[[0, 2]])


def test_a_pixel_knows_only_what_is_near(restorer):
    """Nothing looks at the whole tile: or tiles would not fit together."""
    x = torch.zeros(1, 3, 128, 128)
    cond = conditions(x)
    before = restorer.denoise(x, torch.ones(1), cond)
    far = x.clone()
    far[..., :8] = 1
    after = restorer.denoise(far, torch.ones(1), cond)
    assert torch.allclose(after[..., 100:], before[..., 100:], atol=1e-6)
    assert not torch.allclose(after[..., :8] - far[..., :8], before[..., :8], atol=1e-3)


def test_time_mask_and_levels_are_conditions(restorer):
    x = torch.zeros(1, 3, SIDE, SIDE)
    cond = conditions(x)
    plain = restorer.denoise(x, torch.ones(1), cond)
    assert not torch.allclose(plain, restorer.denoise(x, torch.full((1,), 0.5), cond))
    assert not torch.allclose(
        plain, restorer.denoise(x, torch.ones(1), cond | {"mask": torch.ones(1, 1, SIDE, SIDE)})
    )
    assert not torch.allclose(plain, restorer.denoise(x, torch.ones(1), conditions(x, 0.75)))


async def restore_by_engine(restorer, pixels, mask):
    """As a server does it: every tile is one row of the sampling engine."""
    tiles, places = cut_tiles(fill_holes(pixels, mask), restorer.side)
    masks, _ = cut_tiles(mask, restorer.side)
    levels = restorer.estimate(fill_holes(pixels, mask))
    routes = [
        restorer.plan(tile, hole, levels=levels) for tile, hole in zip(tiles, masks, strict=True)
    ]
    requests = [RowRequest.along(route, restorer.name, seed) for seed, route in enumerate(routes)]
    engine = Engine([restorer], EngineLimits(buckets=(1, 2, 4)))
    engine.start(requests[:1])
    try:
        restored = await engine.submit(requests).result
    finally:
        engine.close()
    return join_tiles(np.stack(restored), places)


async def test_the_engine_restores_as_the_restorer_does(restorer):
    pixels, mask = draw_picture(100, 70), np.zeros((100, 70), np.bool_)
    mask[30:50, 20:40] = True
    alone = restorer.restore(pixels, mask)
    assert alone.shape == pixels.shape
    assert not np.array_equal(alone, pixels)
    served = await restore_by_engine(restorer, pixels, mask)
    assert np.abs(served.astype(int) - alone).max() <= 1


def test_a_folder_that_is_none_is_refused(folder, tmp_path):
    with pytest.raises(CheckpointUnusable, match="no restorer"):
        Restorer.load(tmp_path)
    other = tmp_path / "other"
    UNet(3, 1, widths=(8, 12), num_blocks=(1, 1)).save_pretrained(other / "network")
    LevelEstimator((4, 4, 4, 4)).save_pretrained(other / "estimator")
    save_index(other, "other", SIDE, 2)
    with pytest.raises(CheckpointUnusable, match="reads 3 channels"):
        Restorer.load(other)
    broken = shutil.copytree(folder, tmp_path / "broken")
    index = json.loads((broken / "model_index.json").read_text())
    del index["steps"]
    (broken / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointUnusable, match="steps"):
        Restorer.load(broken)


def test_a_digest_is_of_the_weights(folder, restorer, tmp_path):
    again = shutil.copytree(folder, tmp_path / "again")
    assert Restorer.load(again).digest == restorer.digest
    make_network(seed=1).save_pretrained(again / "network")
    assert Restorer.load(again).digest != restorer.digest


@pytest.mark.parametrize("size", [(40, 90), (SIDE, SIDE), (150, 200)])
def test_a_picture_of_any_size_has_one_level_of_each_kind(restorer, size):
    levels = restorer.estimate(draw_picture(*size))
    assert levels.shape == (len(KINDS),) and levels.dtype == np.float32
    assert ((0 <= levels) & (levels <= 1)).all()


def test_the_surest_tiles_say_how_much_there_is():
    """A tile of one colour knows nothing of a blur."""
    unsure = torch.zeros(len(KINDS), len(PLACES))
    sure = unsure.clone()
    sure[:, 4] = 20
    assert agree(torch.stack([sure, unsure])) == pytest.approx([0.25] * 4, abs=1e-3)
    assert agree(unsure[None]) == pytest.approx([0.5] * 4)
    assert np.array_equal(agree(sure[None]), expect(sure[None])[0])


def test_the_shipped_one_knows_how_much_noise_there_is_and_takes_it_away():
    restorer = Restorer.load(RESTORER)
    truth = render_scene(Scene("sky", "table", 3), 192)
    noisy = add_noise(truth, 25, np.random.default_rng(0))
    assert restorer.estimate(truth)[0] < 0.1
    assert restorer.estimate(noisy)[0] == pytest.approx(25 / MAX_NOISE, abs=0.08)
    before, after = (
        float(((found.astype(int) - truth) ** 2).mean())
        for found in (noisy, restorer.restore(noisy))
    )
    assert after < before / 4
