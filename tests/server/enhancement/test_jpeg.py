"""JPEG: what its grid left is found, wherever the grid begins, and the quality is read from it."""

import numpy as np
import pytest

from diffusion.training.damage import save_as_jpeg
from server.enhancement.detail import to_luma
from server.enhancement.jpeg import (
    MAX_CELLS,
    cut_blocks,
    estimate_quality,
    find_cells,
    measure_jpeg,
    transform,
)
from tests.server.enhancement.pictures import open_on_white


@pytest.fixture(scope="module")
def packshot():
    return open_on_white()


def test_the_transform_keeps_energy_and_puts_the_mean_first():
    blocks = np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)
    coefficients = transform(blocks)
    assert np.allclose((coefficients**2).sum((1, 2)), (blocks**2).sum((1, 2)), rtol=1e-4)
    assert np.allclose(coefficients[:, 0, 0], 8 * blocks.mean((1, 2)), atol=1e-4)


def test_blocks_are_cut_along_the_grid_and_flat_ones_left_out():
    luma = np.zeros((40, 40), np.float32)
    luma[10:14, 12:15] = 200
    cells = find_cells(luma)
    assert cells.tolist() == [[0, 0], [0, 8], [8, 0], [8, 8]]
    assert len(cut_blocks(luma, cells, 0, 0)) == 1
    assert cut_blocks(luma, cells, 2, 4)[0][0, 0] == 200


def test_no_block_of_a_small_picture_is_passed_over():
    luma = np.random.default_rng(0).integers(0, 256, (45, 83)).astype(np.float32)
    cells = find_cells(luma)
    for top, left in ((0, 0), (3, 5), (7, 7)):
        blocks = cut_blocks(luma, cells, top, left)
        assert len(blocks) == ((45 - top) // 8) * ((83 - left) // 8)
        assert np.array_equal(blocks[0], luma[top : top + 8, left : left + 8])


def test_of_a_huge_picture_as_many_blocks_are_looked_at_as_of_any(packshot):
    huge = np.tile(save_as_jpeg(packshot, 25), (4, 4, 1))
    luma = to_luma(huge)
    cells = find_cells(luma)
    assert len(cells) == MAX_CELLS
    assert (np.ptp(cells, axis=0) > 1400).all(), "from all of the picture"
    measure = measure_jpeg(luma)
    assert int(measure.words.split()[-1]) == pytest.approx(25, abs=10)
    assert not measure_jpeg(to_luma(np.tile(packshot, (4, 4, 1)))).is_found


def test_a_packshot_that_was_none_has_no_grid(packshot):
    measure = measure_jpeg(to_luma(packshot))
    assert (measure.is_found, measure.score) == (False, 0)


@pytest.mark.parametrize("quality", [10, 25, 50])
def test_the_quality_is_read_from_the_steps(packshot, quality):
    measure = measure_jpeg(to_luma(save_as_jpeg(packshot, quality)))
    assert measure.is_found
    assert int(measure.words.split()[-1]) == pytest.approx(quality, abs=10)


def test_the_steps_of_quality_50_are_its_table():
    rng = np.random.default_rng(0)
    blocks = rng.integers(-6, 7, (60, 8, 8)).astype(np.float32)
    table = np.full((8, 8), 99, np.float32)
    table[:5, :5] = [
        [16, 11, 10, 16, 24],
        [12, 12, 14, 19, 26],
        [14, 13, 16, 24, 40],
        [14, 17, 22, 29, 51],
        [18, 22, 37, 56, 68],
    ]
    assert estimate_quality(blocks * table) == 50


def test_a_grid_is_found_when_the_picture_was_cropped(packshot):
    spoilt = save_as_jpeg(packshot, 15)[3:, 5:]
    assert measure_jpeg(to_luma(spoilt)).is_found


def test_a_good_jpeg_is_left_alone(packshot):
    assert not measure_jpeg(to_luma(save_as_jpeg(packshot, 92))).is_found


def test_what_is_smaller_than_a_few_blocks_is_not_judged():
    assert not measure_jpeg(np.zeros((20, 20), np.float32)).is_found
