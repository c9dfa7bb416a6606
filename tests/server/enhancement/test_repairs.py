"""Repairs: light, colour, background, place and size, each with a known answer."""

import numpy as np
import pytest

from diffusion.finding import find_product
from server.enhancement import repairs
from server.enhancement.nouns import Picture
from tests.server.enhancement.pictures import RED, draw_box, expose, open_cutout, open_on_white


def measure_error(one, other):
    return float(np.abs(one.astype(int) - other).mean())


def test_the_right_light_stays_as_it_is():
    picture = Picture(open_on_white())
    assert repairs.correct_exposure(picture) is picture
    assert np.array_equal(repairs.correct_cast(picture).rgb, picture.rgb)


def test_a_dark_picture_becomes_light():
    truth = open_on_white()
    dark = Picture(np.rint(truth * 0.4).astype(np.uint8))
    corrected = repairs.correct_exposure(dark)
    assert measure_error(corrected.rgb, truth) < 1.5


def test_a_flat_picture_gets_white_and_black():
    truth = draw_box()
    flat = Picture(np.rint(80 + truth / 255.0 * 90).astype(np.uint8))
    corrected = repairs.correct_exposure(flat).rgb
    assert corrected[0, 0].tolist() == [255, 255, 255]
    assert corrected.min() <= 15
    assert measure_error(corrected, truth) < 0.3 * measure_error(flat.rgb, truth)


@pytest.mark.parametrize("gains", [(1.0, 0.85, 0.7), (0.75, 0.9, 1.0)])
def test_a_cast_is_taken_out(gains):
    truth = open_on_white()
    tinted = expose(truth, gains)
    corrected = repairs.correct_cast(Picture(tinted)).rgb
    assert corrected[0, 0].tolist() == [255, 255, 255]
    assert measure_error(corrected, truth) < 1


def test_an_alpha_goes_along():
    rgba = open_cutout()
    dark = Picture(rgba[..., :3] // 4, rgba[..., 3])
    corrected = repairs.correct_exposure(dark)
    assert corrected.alpha is not None
    assert np.array_equal(corrected.alpha, rgba[..., 3])


def test_what_is_marked_is_continued_from_what_is_around():
    pixels = draw_box()
    spoilt = pixels.copy()
    spoilt[5:15, 5:15] = 0
    mask = (spoilt != pixels).any(axis=-1)
    filled = repairs.fill_marked(Picture(spoilt), mask)
    assert np.abs(filled.rgb.astype(int) - pixels).max() <= 1
    alpha = np.where(mask, 255, 0).astype(np.uint8)
    cut = repairs.fill_marked(Picture(spoilt, alpha), mask)
    assert cut.alpha is not None and cut.alpha.max() <= 1


def test_what_is_filled_is_finished_where_it_is_the_plain_background():
    pixels = draw_box(rows=slice(30, 90), columns=slice(40, 120))
    mask = np.zeros(pixels.shape[:2], np.bool_)
    mask[5:15, 60:70] = mask[36:50, 60:70] = True
    filled = repairs.fill_marked(Picture(pixels), mask)
    rest = repairs.find_unfinished(filled, mask)
    assert not rest[:30].any() and not rest[~mask].any()
    assert rest[36:50, 60:70].all()
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert np.array_equal(repairs.find_unfinished(Picture(noise), mask), mask)


def test_what_is_filled_is_finished_where_it_is_transparent():
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[20:] = (200, 30, 30, 255)
    mask = np.zeros((40, 40), np.bool_)
    mask[5:10, 5:10] = mask[30:35, 5:10] = True
    filled = repairs.fill_marked(Picture(rgba[..., :3], rgba[..., 3]), mask)
    rest = repairs.find_unfinished(filled, mask)
    assert np.array_equal(np.unique(np.nonzero(rest)[0]), np.arange(30, 35))


def test_hidden_colours_are_not_shown_to_a_model():
    rgba = open_cutout().copy()
    rgba[rgba[..., 3] == 0] = (0, 255, 0, 0)
    shown = repairs.fill_hidden(Picture(rgba[..., :3], rgba[..., 3]))
    hidden = rgba[..., 3] == 0
    assert np.array_equal(
        shown[~hidden & (rgba[..., 3] >= 8)], rgba[~hidden & (rgba[..., 3] >= 8)][:, :3]
    )
    assert not (shown[hidden] == (0, 255, 0)).all(axis=-1).any()


def test_a_product_is_moved_to_the_middle_with_its_own_pixels():
    picture = Picture(draw_box(rows=slice(5, 65), columns=slice(70, 150)))
    rgba = find_product(picture.rgb).pixels
    assert np.array_equal(repairs.recentre(picture, rgba[..., 3]).rgb, draw_box())


def test_what_is_in_the_middle_stays():
    picture = Picture(draw_box())
    rgba = find_product(picture.rgb).pixels
    assert repairs.recentre(picture, rgba[..., 3]) is picture
    assert repairs.recentre(picture, np.zeros((120, 160), np.uint8)) is picture


def test_a_transparent_product_is_moved_with_its_alpha():
    rgba = np.zeros((40, 60, 4), np.uint8)
    rgba[2:22, 4:24] = (*RED, 255)
    moved = repairs.recentre(Picture(rgba[..., :3], rgba[..., 3]), rgba[..., 3])
    assert moved.alpha is not None
    expected = np.zeros((40, 60), np.uint8)
    expected[10:30, 20:40] = 255
    assert np.array_equal(moved.alpha, expected)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_larger_picture_is_as_large_as_asked(factor):
    rgba = open_cutout(side=64)
    larger = repairs.enlarge(Picture(rgba[..., :3], rgba[..., 3]), factor)
    assert larger.alpha is not None
    assert larger.size == larger.alpha.shape == (64 * factor, 64 * factor)
    flat = repairs.enlarge(Picture(np.full((10, 20, 3), 99, np.uint8)), factor)
    assert flat.size == (10 * factor, 20 * factor) and (flat.rgb == 99).all()


def test_a_difference_is_white_from_a_quarter_of_the_range_on():
    before = np.full((4, 4, 3), 100, np.uint8)
    after = before.copy()
    after[0, 0, 1], after[1, 1], after[2, 2, 2] = 101, 164, 68
    drawn = repairs.draw_difference(Picture(before), Picture(after))
    assert drawn is not None
    assert (drawn[0, 0], drawn[1, 1], drawn[2, 2], drawn[3, 3]) == (4, 255, 128, 0)
    assert repairs.draw_difference(Picture(before), Picture(before[:2])) is None


def test_a_difference_of_alpha_alone_is_seen():
    white = np.full((3, 3, 3), 255, np.uint8)
    alpha = np.full((3, 3), 255, np.uint8)
    cut = alpha.copy()
    cut[1, 1] = 0
    drawn = repairs.draw_difference(Picture(white, alpha), Picture(white, cut))
    assert drawn is not None and drawn.ravel().tolist() == [0, 0, 0, 0, 255, 0, 0, 0, 0]
