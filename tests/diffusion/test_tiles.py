"""Tiles: what is cut comes together again, exactly where tiles agree and smoothly where not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.tiles import MARGIN, OVERLAP, SIDE, cut_tiles, join_tiles


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 180), st.integers(1, 180), st.integers(0, 99), st.sampled_from([32, 48, 128]))
def test_pictures_of_any_size_come_out_as_they_went_in(height, width, seed, side):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    tiles, places = cut_tiles(pixels, side, overlap=24)
    assert tiles.shape == (len(places), side, side, 3)
    assert np.array_equal(join_tiles(tiles, places), pixels)


@pytest.mark.parametrize("dtype", [np.bool_, np.float32])
def test_masks_and_planes_are_cut_alike(dtype):
    plane = np.random.default_rng(0).random((150, 200)).round().astype(dtype)
    tiles, places = cut_tiles(plane)
    assert tiles.dtype == dtype and tiles.shape[1:] == (SIDE, SIDE)
    joined = join_tiles(tiles.astype(np.float32), places)
    assert np.allclose(joined, plane, atol=1e-6)


def test_tiles_of_a_picture_and_of_its_mask_lie_in_the_same_places():
    pixels, mask = np.zeros((300, 150, 3), np.uint8), np.zeros((300, 150), np.bool_)
    assert cut_tiles(pixels)[1] == cut_tiles(mask)[1]


def test_no_seam_is_seen_where_tiles_disagree_a_little():
    """Each tile of a gradient is wrong by an own offset: no step is larger than the ramp's own."""
    ramp = np.broadcast_to(np.linspace(0, 100, 400, dtype=np.float32)[:, None], (400, 400))
    tiles, places = cut_tiles(ramp)
    wrong = tiles + np.random.default_rng(0).uniform(-4, 4, (len(tiles), 1, 1)).astype(np.float32)
    joined = join_tiles(wrong, places)
    assert np.abs(joined - ramp).max() <= 4.001
    steepest = 8 * 1.5 / (OVERLAP - 2 * MARGIN)  # of a smooth step from -4 to 4
    assert np.abs(np.diff(joined - ramp, axis=0)).max() <= 1.05 * steepest
    assert np.abs(np.diff(joined, axis=1)).max() <= 1.05 * steepest


def test_what_a_tile_says_at_its_edge_counts_for_nothing():
    pixels = np.full((200, 200), 7, np.uint8)
    tiles, places = cut_tiles(pixels)
    spoilt = tiles.copy()
    inner = np.s_[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    spoilt[:] = 255
    spoilt[inner] = tiles[inner]
    assert np.array_equal(join_tiles(spoilt, places), pixels)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="overlap of 4 px"):
        cut_tiles(np.zeros((9, 9)), 64, overlap=4)
    tiles, places = cut_tiles(np.zeros((200, 200)))
    with pytest.raises(ValueError, match="3 tiles for 4 places"):
        join_tiles(tiles[:3], places)
