"""Light: a picture is too dark, too flat, too bright or tinted; a dark product is not."""

import numpy as np
import pytest

from server.enhancement.light import find_tint, judge_cast, judge_exposure, measure_light, saturate
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
