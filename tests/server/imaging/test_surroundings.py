"""Holes are filled with what is around them, and pictures go on beyond their edges."""

import numpy as np
import pytest

from server.imaging.frame import Frame, Square, find_middle
from server.imaging.surroundings import fill, find_area, mirror, show


def draw_generated(side=128, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def plain(colour, side=128):
    return np.broadcast_to(np.array(colour, np.uint8), (side, side, 3)).copy()


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 77)])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_a_hole_in_plain_surroundings_is_filled_with_their_colour(colour, share):
    rng = np.random.default_rng(0)
    hole = rng.random((64, 64)) < share
    pixels = plain(colour, 64)
    pixels[hole] = rng.integers(0, 256, (hole.sum(), 3))
    assert np.array_equal(fill(pixels, hole), plain(colour, 64))


def test_only_the_hole_is_filled():
    pixels, hole = draw_generated(32), np.zeros((32, 32), bool)
    assert np.array_equal(fill(pixels, hole), pixels)
    hole[10:20, 5:25] = True
    filled = fill(pixels, hole)
    assert np.array_equal(filled[~hole], pixels[~hole])


def test_a_hole_between_two_colours_is_filled_with_the_nearer_one():
    pixels = plain((0, 0, 0), 64)
    pixels[:, 32:] = 200
    hole = np.zeros((64, 64), bool)
    hole[24:40, 8:56] = True
    filled = fill(pixels, hole).astype(int)[32, :, 0]
    assert filled[10] < 60 and filled[53] > 140
    assert filled.min() >= 0 and filled.max() <= 200


def test_what_the_hole_holds_does_not_shine_through():
    pixels, hole = plain((100, 100, 100), 32), np.zeros((32, 32), bool)
    hole[8:24, 8:24] = True
    other = pixels.copy()
    other[hole] = 255
    assert np.array_equal(fill(pixels, hole), fill(other, hole))


def test_a_hole_that_is_everything_is_filled_without_numbers_that_are_none():
    filled = fill(draw_generated(16), np.ones((16, 16), bool))
    assert filled.shape == (16, 16, 3) and filled.dtype == np.uint8


@pytest.mark.parametrize("side", [24, 72, 100])
def test_a_hole_is_filled_in_squares_of_any_side(side):
    generated = plain((10, 200, 30), side)
    hole = np.zeros((side, side), bool)
    hole[side // 3 :, side // 4 : -2] = True
    generated[hole] = (255, 0, 255)
    assert np.abs(fill(generated, hole).astype(int) - (10, 200, 30)).max() <= 1


def test_a_frame_like_the_picture_shows_it_as_it_is():
    generated = draw_generated(32)
    assert show(generated, find_middle(32, 32), Frame.around(32, 32)) is generated
    assert (
        show(plain((7, 8, 9), 32), find_middle(32, 32), Frame.around(100, 100)) == (7, 8, 9)
    ).all()


WIDE = Frame(384, 128, 0.5, 0.8, 0.56)
TALL = Frame(128, 384, 0.5, 0.6, 0.56)


def test_what_the_picture_has_is_shown_as_it_is():
    generated = draw_generated()
    shown = show(generated, find_middle(128, 128), WIDE)
    assert np.array_equal(shown[:, 128:256], generated)
    shown = show(generated, find_middle(128, 128), TALL)
    assert np.array_equal(shown[128:256], generated)


@pytest.mark.parametrize("frame", [WIDE, TALL, Frame(90, 30, 0.1, 0.9, 0.3)])
def test_plain_surroundings_go_on_plain(frame):
    shown = show(plain((12, 200, 77)), find_middle(128, 128), frame)
    assert np.abs(shown.astype(int) - (12, 200, 77)).max() <= 1


def test_a_horizon_goes_on_sharp_to_the_edges():
    generated = plain((90, 140, 220))
    generated[90:] = (120, 90, 60)
    shown = show(generated, find_middle(128, 128), WIDE).astype(int)
    for column in (0, 60, 200, 383):
        assert np.abs(shown[:87, column] - (90, 140, 220)).max() <= 6
        assert np.abs(shown[94:, column] - (120, 90, 60)).max() <= 6


def test_single_things_at_the_edge_fade_away_further_out():
    generated = plain((200, 200, 200))
    generated[40:70, 110:124] = 0
    shown = show(generated, find_middle(128, 128), WIDE).astype(int)
    assert shown[55, 128 + 115].max() == 0
    assert np.abs(shown[:, -60:] - 200).max() <= 4
    assert np.abs(shown[:, :60] - 200).max() <= 4


def test_the_product_in_the_middle_does_not_come_again():
    """Green is where products are, and nowhere else in what is shown."""
    generated = plain((150, 150, 150))
    generated[30:102, 30:98] = (0, 255, 0)
    for frame in (WIDE, TALL, Frame(400, 400, 0.5, 0.55, 0.2)):
        shown = show(generated, find_middle(128, 128), frame).astype(int)
        is_green = shown[..., 1] - shown[..., 0] > 30
        left, top, right, lower = find_area(find_middle(128, 128), frame)
        scale = frame.width / (right - left)
        assert is_green.sum() == pytest.approx(72 * 68 * scale**2, rel=0.1)


def test_the_floor_goes_on_as_it_ends():
    generated = plain((90, 90, 90))
    generated[100:] = np.linspace((60, 60, 60), (200, 200, 200), 28).astype(np.uint8)[:, None]
    shown = show(generated, find_middle(128, 128), TALL).astype(int)
    assert np.abs(shown[256:] - 200).max() <= 6, "no waves"


def test_what_is_outside_shows_the_strips_there_and_back():
    found, out = mirror(10, 5, 4, (2, 3))
    assert found.tolist() == [0, 0, 1, 1, 0, *range(10), 9, 8, 7, 7]
    assert out.tolist() == [5, 4, 3, 2, 1, *[0] * 10, 1, 2, 3, 4]
    assert mirror(10, 0, 3, (2, 1))[0][-3:].tolist() == [9, 9, 9]


def test_pictures_of_any_size_become_frames_of_any_size():
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = (int(n) for n in rng.integers(8, 90, 2))
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        x, ground, size = (float(n) for n in rng.uniform((0, 0.2, 0.1), (1, 1, 1)))
        frame = Frame(int(rng.integers(1, 90)), int(rng.integers(1, 90)), x, ground, size)
        shown = show(pixels, find_middle(width, height), frame)
        assert shown.shape == (frame.height, frame.width, 3) and shown.dtype == np.uint8


def test_a_picture_is_shown_around_its_own_square():
    assert find_area(Square(10, 0, 50), Frame.around(100, 100)) == (10, 0, 60, 50)
