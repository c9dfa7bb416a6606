"""Damage: of the size that was asked for, and the same for the same generator."""

import io

import numpy as np
import pytest
from PIL import Image

from diffusion.damage_levels import KINDS
from diffusion.scenes import Scene, render_scene
from diffusion.training.damage import (
    DAMAGES,
    add_noise,
    add_shot_noise,
    blur,
    blur_by_defocus,
    blur_by_motion,
    convolve,
    damage,
    downscale,
    draw_holes,
    save_as_jpeg,
)

GREY = np.full((64, 64, 3), 128, np.uint8)
PICTURE = render_scene(Scene("sky", "table", 3), 96)


def random(seed=0):
    return np.random.default_rng(seed)


def draw_point():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    return point.astype(np.float32)


@pytest.mark.parametrize("sigma", [5.0, 25.0])
def test_noise_has_the_deviation_that_was_asked_for(sigma):
    assert add_noise(GREY, sigma, random()).std() == pytest.approx(sigma, rel=0.05)


def test_shot_noise_is_stronger_where_there_is_more_light():
    dark, light = (np.full((64, 64, 3), level, np.uint8) for level in (30, 220))
    spread = [add_shot_noise(plain, 10, random()).std() for plain in (dark, light)]
    assert spread[1] > 1.8 * spread[0]


def test_a_blur_is_as_wide_as_was_asked_for():
    """Of one colour nothing changes; of a point the spread is known."""
    square = np.full((30, 30, 3), 200, np.uint8)
    assert np.array_equal(blur(square, 2.0), square)
    edge = np.zeros((60, 60, 3), np.uint8)
    edge[:, 30:] = 255
    slope = np.diff(blur(edge, 2.0)[30, :, 0].astype(float))
    places = np.arange(len(slope)) - 29
    assert np.sqrt((slope * places**2).sum() / slope.sum()) == pytest.approx(2.0, rel=0.05)


def test_a_kernel_is_laid_over_every_pixel():
    kernel = random().random((3, 5))
    found = convolve(draw_point(), kernel)
    assert np.allclose(found[19:22, 18:23, 0], 255 * kernel[::-1, ::-1] / kernel.sum(), atol=1e-3)
    assert found.sum() == pytest.approx(3 * 255, rel=1e-4)


def test_motion_blurs_along_its_line_only():
    lines = np.zeros((48, 48, 3), np.uint8)
    lines[::4] = 255
    along, across = blur_by_motion(lines, 8, 0.0), blur_by_motion(lines, 8, np.pi / 2)
    assert np.array_equal(along, lines)
    assert across.std() < 0.3 * lines.std()


def test_defocus_spreads_a_point_over_a_disc():
    spread = blur_by_defocus(draw_point().astype(np.uint8), 3.0)[..., 0] > 0
    assert abs(int(spread.sum()) - np.pi * 9) < 12


def test_fewer_pixels_keep_the_size():
    small = downscale(PICTURE, 2.5)
    assert small.shape == PICTURE.shape
    assert np.abs(np.diff(small.astype(int), axis=0)).mean() < (
        0.9 * np.abs(np.diff(PICTURE.astype(int), axis=0)).mean()
    )


def test_a_jpeg_is_what_pillow_writes():
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "JPEG", quality=15)
    with Image.open(file) as image:
        assert np.array_equal(save_as_jpeg(PICTURE, 15), np.asarray(image))


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_every_kind_says_how_much(kind):
    seen = []
    for seed in range(40):
        spoilt, level = DAMAGES[kind](PICTURE, 1.0, random(seed))
        assert spoilt.shape == PICTURE.shape and spoilt.dtype == np.uint8
        assert 0 < level <= 1
        seen.append((level, np.abs(spoilt.astype(float) - PICTURE).mean()))
    levels, errors = np.array(seen).T
    assert np.corrcoef(levels, errors)[0, 1] > 0.6


def test_damage_is_one_kind_or_several_or_none_and_says_which():
    told = []
    for seed in range(120):
        spoilt, levels = damage(PICTURE, random(seed))
        again, same = damage(PICTURE, random(seed))
        assert np.array_equal(spoilt, again) and np.array_equal(levels, same)
        assert np.array_equal(spoilt, PICTURE) == (not levels.any())
        told.append(levels > 0)
    counts = np.array(told).sum(axis=1)
    assert set(counts.tolist()) >= {0, 1, 2, 3}
    assert np.array(told).any(axis=0).sum() == len(KINDS)


def test_holes_are_of_many_shapes_and_not_too_large():
    shares = [draw_holes(64, 80, random(seed)).mean() for seed in range(60)]
    assert draw_holes(64, 80, random()).shape == (64, 80)
    assert 0.02 < np.mean(shares) < 0.3 and max(shares) < 0.8
