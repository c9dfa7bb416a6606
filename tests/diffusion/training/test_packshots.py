"""Good pictures: of products that training may see, on every kind of ground."""

import json

import numpy as np
import pytest
from PIL import Image

from diffusion.training.packshots import Packshots, draw_gradient, open_cutout, put_over
from tests.diffusion.training.small import COLOURS
from tests.diffusion.training.workshop import load_packshots, make_world


@pytest.fixture(scope="module")
def packshots(tmp_path_factory):
    return load_packshots(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def test_only_products_that_training_may_see_are_loaded(world, tmp_path):
    rows = [json.loads(line) for line in (world / "products.jsonl").read_text().splitlines()]
    num_held_out = sum(row["split"] == "held_out" for row in rows)
    seen = Packshots.load(world, world / "artworks", tmp_path)
    unseen = Packshots.load(world, world / "artworks", tmp_path, held_out=True)
    assert len(seen.cutouts) == 4 * (len(rows) - num_held_out)
    assert len(unseen.cutouts) == 4 * num_held_out
    # Each product is of one colour: blue is the kite's, which is held out.
    kite = COLOURS["kite"]
    assert all(tuple(np.asarray(cutout)[20, 20, :3]) != kite for cutout in seen.cutouts)
    assert all(tuple(np.asarray(cutout)[20, 20, :3]) == kite for cutout in unseen.cutouts)


def test_scenes_are_rendered_once(world, tmp_path):
    first = Packshots.load(world, world / "artworks", tmp_path)
    (file,) = tmp_path.glob("*.npy")
    before = file.stat().st_mtime_ns
    second = Packshots.load(world, world / "artworks", tmp_path)
    assert file.stat().st_mtime_ns == before
    assert np.array_equal(first.scenes, second.scenes)


def test_the_same_generator_draws_the_same(world, packshots):
    for side in (40, 80):
        one, same, other = (packshots.draw(side, np.random.default_rng(s)) for s in (3, 3, 4))
        assert one.shape == (side, side, 3) and one.dtype == np.uint8
        assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_grounds_are_white_or_not(packshots):
    rng = np.random.default_rng(0)
    grounds = [packshots.draw_ground(32, rng) for _ in range(100)]
    num_white = sum(bool((ground == 255).all()) for ground in grounds)
    num_plain = sum(bool((ground == ground[0, 0]).all()) for ground in grounds)
    assert 25 < num_white < 55 and num_white < num_plain < 80


def test_a_cutout_is_cropped_to_its_product(tmp_path):
    rgba = np.zeros((50, 60, 4), np.uint8)
    rgba[10:30, 5:45] = (200, 100, 50, 255)
    Image.fromarray(rgba).save(tmp_path / "a.webp", lossless=True)
    assert open_cutout(tmp_path / "a.webp").size == (40, 20)


def test_what_is_half_there_is_mixed():
    piece = Image.fromarray(np.full((2, 2, 4), (100, 0, 0, 128), np.uint8)).convert("RGBa")
    put = put_over(np.full((4, 4, 3), 200, np.uint8), piece, 1, 1)
    assert put[0, 0].tolist() == [200] * 3
    assert np.abs(put[1, 1].astype(int) - [150, 100, 100]).max() <= 1


def test_a_gradient_runs_one_way():
    ramp = draw_gradient(32, np.random.default_rng(1)).astype(int)
    for axis in (0, 1):
        steps = np.diff(ramp, axis=axis)
        assert all((steps[..., c] >= 0).all() or (steps[..., c] <= 0).all() for c in range(3))
