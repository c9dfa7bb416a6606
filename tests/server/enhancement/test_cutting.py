"""A matte that takes a part of the product away is found out, and a shadow that goes is none."""

import numpy as np
import pytest

from diffusion.composition import CENTRE, composite, contact_shadow, place
from diffusion.training.damage import add_noise
from server.enhancement.cutting import drop_thin, find_shadow, join_parts, loses_product
from tests.server.enhancement.pictures import draw_box, open_cutout

PRODUCTS = ["backpack", "abacus", "amphora", "bagel"]
SIDE = 512


def draw(name, is_shaded=False):
    """On white [512, 512, 3], and its alpha uint8."""
    rgb, alpha = place(open_cutout(name), SIDE, CENTRE)
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    shadow = contact_shadow(alpha) if is_shaded else None
    return composite(white, rgb, alpha, shadow), np.rint(255 * alpha).astype(np.uint8)


def eat(alpha, share):
    """Without its lowest part."""
    rows = np.nonzero((alpha > 127).any(axis=1))[0]
    eaten = alpha.copy()
    eaten[rows[round(len(rows) * (1 - share))] :] = 0
    return eaten


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("is_shaded", [False, True], ids=["bare", "with a shadow"])
def test_a_quarter_of_a_product_is_missed_and_nothing_of_a_whole_one(name, is_shaded):
    pixels, alpha = draw(name, is_shaded)
    assert not loses_product(pixels, alpha)
    assert loses_product(pixels, eat(alpha, 0.25))
    grainy = add_noise(pixels, 6, np.random.default_rng(0))
    assert not loses_product(grainy, alpha) and loses_product(grainy, eat(alpha, 0.25))


def test_a_soft_edge_and_a_tight_one_are_no_part():
    pixels = draw_box(256, 256, slice(60, 200), slice(60, 200))
    alpha = np.zeros((256, 256), np.uint8)
    for rim in (-4, 0, 4):
        alpha[:] = 0
        alpha[60 - rim : 200 + rim, 60 - rim : 200 + rim] = 255
        assert not loses_product(pixels, alpha)


def test_what_lies_beside_the_product_may_go():
    pixels = draw_box(256, 256, slice(60, 200), slice(30, 130))
    pixels[100:160, 170:230] = (20, 90, 160)
    alpha = np.zeros((256, 256), np.uint8)
    alpha[60:200, 30:130] = 255
    assert not loses_product(pixels, alpha)
    pixels[100:160, 120:230] = (20, 90, 160)
    assert loses_product(pixels, alpha), "it hangs together with it"


def test_before_a_restless_ground_or_a_floor_nobody_can_tell():
    alpha = np.zeros((256, 256), np.uint8)
    alpha[60:120, 60:120] = 255
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    floor = draw_box(256, 256, slice(60, 200), slice(60, 200))
    floor[190:] = (120, 80, 40)
    assert not loses_product(noise, alpha) and not loses_product(floor, alpha)


def test_a_shadow_has_the_colour_of_the_ground_only_less_of_it():
    ground = np.array([250, 240, 220])
    small = np.tile(ground.astype(np.uint8), (40, 40, 1))
    small[10, 10:14] = np.stack([ground * 0.9, ground * 0.5, ground * 0.2, [200, 150, 90]])
    assert find_shadow(small)[10, 9:14].tolist() == [True, True, True, False, False]


def test_parts_hang_together_and_lines_are_thin():
    solid, kept = np.zeros((2, 20, 20), np.bool_)
    solid[2:6, 2:9] = solid[12:16, 2:9] = kept[3:5, 2:4] = True
    joined = join_parts(solid, kept)
    assert joined[2:6, 2:9].all() and joined.sum() == 28
    solid[10] = solid[2:9, 10:17] = True
    thick = drop_thin(solid, 2)
    assert not thick[10].any() and thick[5, 13] and not (thick & ~solid).any()
