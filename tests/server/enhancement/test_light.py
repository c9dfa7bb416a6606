"""Light: a picture is too dark, too flat, too bright or tinted; a dark product is not."""

import numpy as np
import pytest

from server.enhancement.light import (
    MAX_SEEN,
    find_tint,
    judge_cast,
    judge_exposure,
    measure_clipping,
    measure_light,
    saturate,
    thin,
)
from server.enhancement.nouns import Picture
from tests.server.enhancement.pictures import draw_box, expose, open_cutout, open_on_white


def judge(pixels):
    light = measure_light(Picture(pixels))
    return judge_exposure(light), judge_cast(light)


def test_a_clean_packshot_has_the_right_light():
    exposure, cast = judge(open_on_white())
    assert not exposure.is_found and not cast.is_found
    assert cast.score == 0


def test_a_dark_product_is_no_dark_picture():
    pixels = np.full((80, 80, 3), 255, np.uint8)
    pixels[20:60, 20:60] = 15
    exposure, _ = judge(pixels)
    assert not exposure.is_found


@pytest.mark.parametrize(("gain", "white"), [(0.25, 137), (0.1, 89)])
def test_too_little_light_is_found_by_the_lightest(gain, white):
    exposure, _ = judge(expose(open_on_white(), gain))
    assert exposure.is_found and exposure.words == f"too dark: the lightest is {white}/255"


def test_haze_is_too_flat():
    pixels = np.rint(80 + open_on_white() / 255 * 90).astype(np.uint8)
    exposure, _ = judge(pixels)
    assert exposure.is_found and exposure.words.startswith("too flat")


def test_what_is_burnt_out_is_too_bright():
    pixels = draw_box(ground=(90, 120, 160))
    pixels[30:80, 40:120] = 255
    exposure, _ = judge(pixels)
    assert exposure.is_found and exposure.words.startswith("too bright")


@pytest.mark.parametrize("stops", [1.5, 2, 3])
@pytest.mark.parametrize("name", ["backpack", "amphora", "bagel"])
def test_too_much_light_is_found_before_white(name, stops):
    exposure, _ = judge(expose(open_on_white(name), 2**stops))
    assert exposure.is_found and exposure.score >= 0.3
    assert exposure.words.startswith("too bright: light is cut off on")


def test_too_much_light_is_found_in_a_product_with_alpha():
    rgba = open_cutout("bagel")
    bright = Picture(expose(rgba[..., :3], 4.0), rgba[..., 3])
    assert judge_exposure(measure_light(bright)).is_found
    assert not judge_exposure(measure_light(Picture(rgba[..., :3], rgba[..., 3]))).is_found


def test_a_white_product_is_not_too_bright():
    pixels = np.full((80, 80, 3), 255, np.uint8)
    pixels[20:60, 20:60] = 90
    pixels[24:56, 24:56] = 255
    exposure, _ = judge(pixels)
    assert not exposure.is_found


def test_pure_colours_alone_are_not_too_bright():
    """A yellow that was meant: one channel at its end, and nothing missing below it."""
    pixels = draw_box()
    pixels[40:80, 50:110] = (255, 202, 40)
    pixels[60:66, 50:110] = (246, 190, 60)
    assert not judge(pixels)[0].is_found


def test_light_that_is_cut_off_leaves_a_gap_below():
    pixels = np.full((120, 240, 3), 255, np.uint8)
    for left, red in ((40, 200), (90, 180), (140, 150)):
        pixels[30:90, left : left + 50] = (red, 50, 30)
    assert not judge(pixels)[0].is_found
    clipping = measure_clipping(Picture(expose(pixels, 4.0)))
    assert clipping.is_found and (clipping.near, clipping.cut, clipping.bleached) == (0, 1, 0)
    pixels[30:90, 40:90] = (247, 60, 40)  # what is nearly as light speaks for light that was meant
    pixels[30:90, 90:140] = (255, 60, 40)
    assert not measure_clipping(Picture(pixels)).is_found


def test_where_nothing_stands_out_from_white_the_product_has_gone():
    exposure, _ = judge(np.full((80, 80, 3), 255, np.uint8))
    assert (exposure.is_found, exposure.score) == (True, 1.0)
    assert exposure.words == "too bright: nothing stands out from white"
    assert not judge(np.full((80, 80, 3), 230, np.uint8))[0].is_found


def test_a_product_without_surroundings_may_be_dark_itself():
    rgba = np.zeros((60, 60, 4), np.uint8)
    rgba[10:50, 10:50] = (130, 125, 128, 255)
    rgba[30:34, 10:50] = (20, 20, 25, 255)
    alone = judge_exposure(measure_light(Picture(rgba[..., :3], rgba[..., 3])))
    assert not alone.is_found
    assert judge(rgba[..., :3])[0].is_found


def test_what_is_hidden_tells_nothing_of_the_light():
    rgba = open_cutout().copy()
    light = measure_light(Picture(rgba[..., :3], rgba[..., 3]))
    rgba[rgba[..., 3] == 0] = (1, 255, 3, 0)
    again = measure_light(Picture(rgba[..., :3], rgba[..., 3]))
    assert (again.white, again.black) == (light.white, light.black)


def test_the_light_of_a_huge_picture_is_told_by_a_bounded_number_of_pixels():
    small = expose(open_on_white(), 0.25)
    huge = small.repeat(5, axis=0).repeat(5, axis=1)
    assert np.array_equal(thin(small), small)
    assert MAX_SEEN / 2 < thin(huge)[..., 0].size <= MAX_SEEN
    one, other = measure_light(Picture(small)), measure_light(Picture(huge))
    assert other.white == one.white == pytest.approx(137, abs=1)
    assert other.black == pytest.approx(one.black, abs=2)


def test_white_that_is_tinted_is_a_cast():
    _, cast = judge(expose(open_on_white(), (1.0, 0.85, 0.7)))
    assert cast.is_found and cast.words == "white is (255, 237, 218)"


def test_a_coloured_wall_is_no_cast():
    wall = draw_box(ground=(240, 225, 200))  # the white stripe on the box is still white
    _, cast = judge(wall)
    assert not cast.is_found


def test_a_dark_border_was_never_white():
    assert find_tint(np.array([120.0, 100.0, 90.0]), draw_box()) is None


def test_greys_are_not_saturated():
    colours = np.array([[10, 10, 10], [200, 100, 200], [50, 0, 0]], np.float64)
    assert saturate(colours).tolist() == [0, 0.5, 1]
