"""Framing: where a box stands is known, and what is plain, cut off or cluttered."""

import numpy as np
import pytest

from server.enhancement.framing import (
    find_offset,
    has_plain_ground,
    is_ground,
    judge_background,
    judge_centre,
    judge_cut,
    look_at_framing,
)
from server.enhancement.nouns import Picture
from tests.server.enhancement.pictures import draw_box, open_cutout


def judge(pixels):
    framing = look_at_framing(Picture(pixels))
    return judge_background(framing), judge_centre(framing), judge_cut(framing)


def draw_clutter(side=256):
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
    return tiles.repeat(16, axis=0).repeat(16, axis=1)


def test_a_box_in_the_middle_before_white_is_framed_well():
    assert [measure.is_found for measure in judge(draw_box())] == [False] * 3


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (slice(10, 90), "19% to the left and 0% above the middle"),
        (slice(70, 150), "19% to the right and 0% above the middle"),
    ],
)
def test_how_far_a_product_is_from_the_middle_is_told(columns, words):
    _, centre, cut = judge(draw_box(columns=columns))
    assert centre.is_found and not cut.is_found
    assert centre.words == words


def test_a_product_that_the_frame_cuts_is_found():
    _, _, cut = judge(draw_box(rows=slice(60, 120)))
    assert cut.is_found and cut.score == 1
    assert cut.words == "100% of it lies along the bottom edge"


def test_an_offset_is_a_share_of_the_frame():
    alpha = np.zeros((10, 20), np.float32)
    alpha[0:4, 10:20] = 1
    assert find_offset(alpha) == (-0.3, 0.25)
    assert find_offset(np.zeros((4, 4), np.float32)) is None
    assert find_offset(None) is None


def test_a_floor_is_no_product():
    floor = np.zeros((10, 10), np.bool_)
    floor[5:] = True
    assert is_ground(floor)
    floor[:, [0, -1]] = False
    assert not is_ground(floor)


def test_restless_surroundings_are_clutter():
    background, centre, _ = judge(draw_clutter())
    assert background.is_found and background.score > 0.5
    assert not centre.is_found  # nothing was told from it


def test_light_that_falls_off_is_no_clutter():
    wall = np.linspace(90, 230, 256).astype(np.uint8)[None, :, None].repeat(200, 0).repeat(3, 2)
    background, _, _ = judge(wall)
    assert not background.is_found


def test_where_a_model_saw_the_product_is_where_it_is():
    alpha = np.zeros((256, 256), np.float32)
    alpha[180:250, 100:150] = 1
    framing = look_at_framing(Picture(draw_clutter()), alpha)
    assert judge_centre(framing).is_found and judge_background(framing).is_found


def test_the_own_alpha_of_a_packshot_tells_the_product():
    rgba = open_cutout()
    picture = Picture(rgba[..., :3], rgba[..., 3])
    assert has_plain_ground(picture) and has_plain_ground(Picture(draw_box()))
    assert not has_plain_ground(Picture(draw_clutter()))
    assert not judge_centre(look_at_framing(picture)).is_found
