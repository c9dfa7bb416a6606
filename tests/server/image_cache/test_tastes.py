"""Who shares a cell, on the shipped buckets and without any."""

import subprocess
import sys

import numpy as np
import pytest

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.taste_buckets import TasteBuckets
from server.image_cache.tastes import GENERIC, find_axis, quantize_taste


@pytest.fixture(scope="module")
def buckets():
    return TasteBuckets.load(DEFAULT_CHECKPOINT)


def tastes(count, width=128, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def test_nobody_is_in_the_generic_cell_and_no_shopper_ever_is(buckets):
    assert quantize_taste(None, buckets) == GENERIC
    assert quantize_taste(np.zeros(128, np.float32), buckets) != GENERIC
    assert all(quantize_taste(taste, buckets) != GENERIC for taste in tastes(50))


def test_shoppers_of_one_bucket_share_a_cell_and_those_of_two_do_not(buckets):
    mint, sky = buckets.centroids[3 * 8], buckets.centroids[4 * 8]
    nudge = 0.05 * np.linalg.norm(mint) * tastes(1)[0] / np.linalg.norm(tastes(1)[0])
    assert quantize_taste(mint, buckets) == quantize_taste(mint + nudge, buckets)
    assert quantize_taste(mint, buckets) != quantize_taste(sky, buckets)


def test_a_faint_taste_shares_nothing_with_a_strong_one_of_its_direction(buckets):
    taste = buckets.centroids[0]
    cells = {quantize_taste(length * taste, buckets) for length in (0.25, 1, 4)}
    assert len(cells) == 3


def test_near_tastes_share_an_axis_far_more_often_than_others():
    """A tenth of its length to the side leaves most where they are; strangers meet by chance."""
    some, noise = tastes(400), tastes(400, seed=1)
    near = some + 0.1 * noise
    stays = np.mean([find_axis(a) == find_axis(b) for a, b in zip(some, near, strict=True)])
    meets = np.mean([find_axis(a) == find_axis(b) for a, b in zip(some, noise, strict=True)])
    opposite = [find_axis(a) != find_axis(-a) for a in some]
    assert stays > 0.6 and meets < 0.05 and all(opposite)


def test_axes_part_shoppers_evenly_and_into_no_more_cells_than_they_say():
    _, counts = np.unique([find_axis(taste) for taste in tastes(4000)], return_counts=True)
    assert len(counts) == 128 and counts.max() < 4 * 4000 / 128


def test_the_direction_alone_chooses_the_axis():
    for taste in tastes(20):
        assert find_axis(taste) == find_axis(7 * taste)


def test_cells_are_the_same_in_another_process():
    script = (
        "import numpy as np; from server.image_cache.tastes import quantize_taste;"
        "t = np.random.default_rng(0).normal(size=(5, 24)).astype(np.float32);"
        "print([quantize_taste(v) for v in t])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.stdout.strip() == str([quantize_taste(v) for v in tastes(5, 24)])


def test_interests_part_cells_where_the_model_reads_them():
    taste = tastes(1)[0]
    assert quantize_taste(taste, None, ("music",)) != quantize_taste(taste)
    assert quantize_taste(taste, None, ("music",)) != quantize_taste(taste, None, ("food",))


def test_a_cell_says_little_of_the_embedding(buckets):
    """A few bits: no number of the embedding can be read from it."""
    assert all(len(quantize_taste(taste, buckets)) < 24 for taste in tastes(20))


@pytest.mark.parametrize("broken", [np.inf, np.nan])
def test_a_taste_that_points_nowhere_has_a_cell_of_its_own(broken, buckets):
    taste = np.full(128, broken, np.float32)
    assert quantize_taste(taste, buckets) == "nowhere"
