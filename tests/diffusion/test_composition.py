"""The product stands on the ground, keeps its own pixels, and throws a soft shadow."""

import numpy as np
import pytest

from diffusion.composition import (
    CENTRE,
    Placement,
    as_share,
    composite,
    contact_shadow,
    crop_to_product,
    place,
    place_in,
    to_linear,
    to_srgb,
)


def box(height: int, width: int, canvas: int = 100) -> np.ndarray:
    """A solid green rectangle in the middle of nothing, whose hidden pixels are red."""
    rgba = np.zeros((canvas, canvas, 4), np.uint8)
    rgba[..., 0] = 255
    top, left = (canvas - height) // 2, (canvas - width) // 2
    rgba[top : top + height, left : left + width] = (10, 200, 30, 255)
    return rgba


def extent(alpha: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def test_the_common_placement_has_its_ground_at_four_fifths():
    assert pytest.approx(0.80) == CENTRE.ground
    assert CENTRE.size == 0.56 and CENTRE.x == 0.5


@pytest.mark.parametrize("side", [128, 512])
@pytest.mark.parametrize(("height", "width"), [(60, 30), (30, 60), (50, 50)])
def test_a_product_keeps_its_proportions_and_stands_on_the_ground_line(side, height, width):
    _, alpha = place(box(height, width), side)
    top, bottom, left, right = extent(alpha > 0.5)
    assert bottom == round(0.80 * side)
    assert max(bottom - top, right - left) == round(0.56 * side)
    assert (bottom - top) / (right - left) == pytest.approx(height / width, rel=0.02)
    assert abs((left + right) / 2 - side / 2) <= 0.5


def test_hidden_colours_do_not_tint_the_edges():
    rgb, alpha = place(box(37, 53), 128)
    shown = rgb[alpha > 0.05]
    assert shown[:, 0].max() < 30 and shown[:, 1].min() > 180


def test_a_placement_beyond_the_frame_is_cut_at_its_edge():
    rgb, alpha = place(box(50, 50), 64, Placement(x=0.0, y=0.5, size=0.8))
    assert rgb.shape == (64, 64, 3) and alpha[:, 0].max() == 1
    _, nothing = place(box(50, 50), 64, Placement(x=3.0))
    assert nothing.max() == 0


def test_an_empty_packshot_is_refused():
    with pytest.raises(ValueError, match="empty"):
        crop_to_product(np.zeros((8, 8, 4), np.uint8))


def test_linear_light_and_back_is_exact_for_every_code():
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_srgb(to_linear(codes)), codes)
    assert to_linear(np.array([188], np.uint8))[0] == pytest.approx(0.5, abs=0.01)


def test_the_products_own_codes_come_out_unchanged_where_it_covers():
    rng = np.random.default_rng(0)
    background, product = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    alpha = np.zeros((32, 32), np.float32)
    alpha[8:24, 8:24] = 1
    shadow = rng.uniform(0.3, 1, (32, 32)).astype(np.float32)
    out = composite(background, product, alpha, shadow)
    assert np.array_equal(out[8:24, 8:24], product[8:24, 8:24])


def test_the_background_is_untouched_far_from_product_and_shadow():
    background = np.full((128, 128, 3), 177, np.uint8)
    rgb, alpha = place(box(50, 50), 128)
    out = composite(background, rgb, alpha, contact_shadow(alpha))
    assert np.array_equal(out[:20], background[:20])
    assert np.array_equal(out[:, :6], background[:, :6])


def test_half_cover_is_half_the_light():
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    out = composite(black, white, np.full((1, 1), 0.5, np.float32))
    assert out[0, 0, 0] == 188  # sRGB of linear 0.5


@pytest.mark.parametrize("side", [128, 512])
def test_the_shadow_is_darkest_at_the_ground_and_fades_away(side):
    _, alpha = place(box(50, 50), side)
    shadow = contact_shadow(alpha)
    ground, middle = round(0.80 * side), side // 2
    assert shadow.dtype == np.float32 and shadow.max() <= 1 and shadow.min() >= 0.15
    below = shadow[ground:, middle]
    assert below[0] < 0.6 and (np.diff(below) >= 0).all() and below[-1] > 0.99
    assert shadow[: side // 2].min() > 0.99


def test_a_part_that_hangs_in_the_air_throws_less_shadow_than_one_that_stands():
    alpha = np.zeros((128, 128), np.float32)
    alpha[40:102, 30:50] = 1  # stands
    alpha[40:80, 78:98] = 1  # hangs
    shadow = contact_shadow(alpha)
    assert shadow[103, 40] < 0.6 < 0.9 < shadow[103, 88]


def test_nothing_throws_no_shadow():
    assert (contact_shadow(np.zeros((16, 16), np.float32)) == 1).all()


def test_the_shadow_has_the_same_shape_at_any_side():
    # Sides at which the ground line is a whole number of pixels.
    small, large = (contact_shadow(place(box(50, 30), side)[1]) for side in (125, 500))
    shrunk = large.reshape(125, 4, 125, 4).mean(axis=(1, 3))
    assert np.abs(shrunk - small).max() < 0.1


def test_shares_run_from_zero_to_one():
    assert as_share(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize(("width", "height"), [(100, 60), (60, 100), (80, 80)])
def test_in_a_frame_of_other_proportions_the_square_is_in_the_middle(width, height):
    rgb, alpha = place_in(box(60, 30), width, height)
    assert rgb.shape == (height, width, 3) and alpha.shape == (height, width)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    inner = (slice(top, top + side), slice(left, left + side))
    alone_rgb, alone_alpha = place(box(60, 30), side)
    assert np.array_equal(rgb[inner], alone_rgb) and np.array_equal(alpha[inner], alone_alpha)
    assert alpha.sum() == alone_alpha.sum(), "and nothing around it"
