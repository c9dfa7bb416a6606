"""Holes are filled from around them, and nothing else is touched."""

import numpy as np
import pytest
import torch

from diffusion.filling import fill, fill_holes


def test_a_hole_in_one_colour_is_filled_with_it():
    pixels = np.full((37, 50, 3), (200, 100, 50), np.uint8)
    mask = np.zeros((37, 50), np.bool_)
    mask[5:30, 10:44] = True
    holed = pixels.copy()
    holed[mask] = 0
    assert np.array_equal(fill_holes(holed, mask), pixels)


def test_a_hole_in_a_gradient_is_filled_smoothly():
    ramp = np.broadcast_to(np.linspace(0, 255, 64)[None, :, None], (64, 64, 3)).astype(np.uint8)
    mask = np.zeros((64, 64), np.bool_)
    mask[24:40, 24:40] = True
    filled = fill_holes(np.where(mask[..., None], 0, ramp).astype(np.uint8), mask)
    assert np.abs(filled.astype(int) - ramp).max() < 24
    assert np.array_equal(filled[~mask], ramp[~mask])


def test_a_picture_without_holes_stays_the_same():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert fill_holes(pixels, np.zeros((8, 9), np.bool_)) is pixels


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_where_nothing_is_known_it_is_grey(size):
    filled = fill_holes(np.zeros((*size, 3), np.uint8), np.ones(size, np.bool_))
    assert (filled == 128).all()


def test_rows_are_filled_each_by_itself():
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = (torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    both = fill(pixels, mask)
    for row in range(2):
        alone = fill(pixels[row : row + 1], mask[row : row + 1])
        assert torch.allclose(both[row], alone[0], atol=1e-6)
