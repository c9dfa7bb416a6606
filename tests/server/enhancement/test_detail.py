"""Detail: known blurs, known noise and known losses of pixels are read as what they are."""

import numpy as np
import pytest

from diffusion.training.damage import add_noise, blur, downscale
from server.enhancement.detail import (
    MAX_SIDE,
    measure_blur,
    measure_noise,
    measure_resolution,
    show_middle,
    to_luma,
)
from server.enhancement.detail import blur as blur_plane
from server.enhancement.nouns import Picture
from tests.server.enhancement.pictures import open_on_white


@pytest.fixture(scope="module")
def packshot():
    return open_on_white()


def test_luma_weighs_colours_as_eyes_do():
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert to_luma(primaries)[0] == pytest.approx([76.245, 149.685, 29.07, 255], abs=0.01)


def test_of_a_huge_picture_the_middle_is_measured():
    wide = np.zeros((10, MAX_SIDE + 100, 3), np.uint8)
    wide[:, 50:-50] = 255
    shown = show_middle(Picture(wide))
    assert shown.shape == (10, MAX_SIDE, 3) and shown.min() == 255
    alpha = np.full(wide.shape[:2], 255, np.uint8)
    alpha[:, :50] = 0
    assert np.array_equal(show_middle(Picture(wide, alpha)), shown)


def test_a_blur_spreads_a_point_as_a_gaussian_does():
    point = np.zeros((41, 41), np.float32)
    point[20, 20] = 1
    spread = blur_plane(point, 2.0)
    offsets = np.arange(41) - 20
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert (spread.sum(axis=0) * offsets**2).sum() == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize("sigma", [1.5, 2.5, 3.5])
def test_the_width_of_a_blurred_step_is_known(sigma):
    step = np.full((80, 80), 40, np.float32)
    step[:, 40:] = 200
    words = measure_blur(blur_plane(step, sigma)).words
    assert float(words.split()[1]) == pytest.approx(2.355 * sigma, rel=0.12)


def test_a_sharp_packshot_is_not_blurred_and_wider_blurs_score_more(packshot):
    assert not measure_blur(to_luma(packshot)).is_found
    found = [measure_blur(to_luma(blur(packshot, sigma))) for sigma in (1.2, 2, 3)]
    assert all(each.is_found for each in found)
    assert [each.score for each in found] == sorted(each.score for each in found)


def test_where_there_is_no_edge_there_is_no_blur():
    measure = measure_blur(np.full((64, 64), 200, np.float32))
    assert (measure.is_found, measure.words) == (False, "too few edges to tell")


@pytest.mark.parametrize("sigma", [3, 8, 25, 60])
def test_noise_is_measured_in_codes(sigma):
    rng = np.random.default_rng(0)
    grey = np.full((128, 128, 3), 128, np.uint8)
    measure = measure_noise(add_noise(grey, sigma, rng))
    assert float(measure.words.split()[2].split("/")[0]) == pytest.approx(
        sigma, rel=0.2 if sigma > 30 else 0.1
    )
    assert measure.is_found


def test_a_drawing_has_no_noise_and_white_tells_nothing(packshot):
    assert not measure_noise(packshot).is_found
    white = measure_noise(np.full((64, 64, 3), 255, np.uint8))
    assert (white.score, white.words) == (0, "nowhere to measure noise")


def test_noise_is_told_where_it_is_asked_for():
    rng = np.random.default_rng(0)
    pixels = np.full((128, 128, 3), 128, np.uint8)
    pixels[:64] = add_noise(pixels[:64], 12, rng)
    noisy = np.zeros((128, 128), np.bool_)
    noisy[:64] = True
    assert measure_noise(pixels, noisy).is_found
    assert measure_noise(pixels, ~noisy).score == 0


def test_pixels_that_hold_nothing_are_found(packshot):
    size = packshot.shape[:2]
    assert not measure_resolution(to_luma(packshot), size).is_found
    spoilt = measure_resolution(to_luma(downscale(packshot, 3)), size)
    assert spoilt.is_found and "no more detail than" in spoilt.words


def test_a_thumbnail_is_too_small_however_sharp(packshot):
    measure = measure_resolution(to_luma(packshot[:100, :150]), (100, 150))
    assert measure.is_found and measure.words == "150 × 100 pixels"
