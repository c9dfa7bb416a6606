"""The guided filter: a coarse map takes the edges of a fine picture."""

import numpy as np
import pytest
from PIL import Image

from diffusion.guided_filter import average, follow_edges


def draw_disc(side, radius=0.31):
    """A red disc on green, each pixel a mean of sixteen: rgb in 0..1 and its alpha."""
    fine = 4 * side
    y, x = (np.mgrid[:fine, :fine] + 0.5) / fine - 0.5
    whole = (np.hypot(x, y) < radius).astype(np.float32)
    alpha = whole.reshape(side, 4, side, 4).mean(axis=(1, 3))
    red = np.array([0.8, 0.1, 0.1], np.float32)
    green = np.array([0.1, 0.6, 0.2], np.float32)
    return alpha[..., None] * red + (1 - alpha[..., None]) * green, alpha


def test_a_coarse_disc_becomes_a_fine_one():
    (small, coarse), (large, truth) = draw_disc(64), draw_disc(512)
    found = follow_edges(coarse, small, large)
    stretched = np.asarray(Image.fromarray(coarse).resize((512, 512), Image.Resampling.BILINEAR))
    error, naive = (np.abs(alpha - truth).mean() for alpha in (found, stretched))
    assert error < naive / 3
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1


def test_a_picture_of_other_proportions_keeps_them():
    small, coarse = draw_disc(64)
    large, _ = draw_disc(256)
    found = follow_edges(coarse, small, large[:, ::2])
    assert found.shape == (256, 128)


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_one_value_stays_one_value(level):
    small, _ = draw_disc(32)
    large, _ = draw_disc(80)
    found = follow_edges(np.full((32, 32), level, np.float32), small, large)
    assert np.allclose(found, level, atol=1e-5)


def test_a_mean_over_windows_is_the_mean_of_every_window():
    plane = np.random.default_rng(0).random((9, 7)).astype(np.float32)
    padded = np.pad(plane, 2, "edge")
    by_hand = [[padded[y : y + 5, x : x + 5].mean() for x in range(7)] for y in range(9)]
    assert np.allclose(average(plane, 2), by_hand, atol=1e-6)
