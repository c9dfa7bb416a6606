"""Where a product stands in pictures of any proportions."""

import pytest

from server.imaging.frame import Frame, Square, find_middle, find_size


@pytest.mark.parametrize("size", [(128, 128), (512, 512), (96, 160), (161, 96), (2048, 683)])
def test_models_make_the_product_in_the_middle_square(size):
    frame = Frame.around(*size)
    assert frame.square == find_middle(*size)
    assert frame.square.side == min(size)


def test_the_square_puts_the_product_where_it_should_stand():
    frame = Frame(900, 300, x=0.25, ground=0.9, size=0.7)
    square = frame.square
    assert square.side == 375  # 0.7 of 300, of which a product fills 0.56
    assert square.left + 0.5 * square.side == pytest.approx(225, abs=1)
    assert square.top + 0.8 * square.side == pytest.approx(270, abs=1)


def test_mirroring_does_not_move_the_product():
    frame = Frame(900, 300, 0.25, 0.9, 0.7)
    assert Frame(900, 300, 0.25, 0.9, 0.7, is_mirrored=True).square == frame.square


def test_a_square_tells_its_rows_and_columns():
    assert Square(3, 5, 10).slices == (slice(5, 15), slice(3, 13))


@pytest.mark.parametrize(
    ("ratio", "size"),
    [(1, (512, 512)), (9 / 16, (288, 512)), (3, (512, 171)), (0.25, (128, 512)), (512, (512, 1))],
)
def test_the_longest_side_is_as_long_as_asked_for(ratio, size):
    assert find_size(512, ratio) == size


@pytest.mark.parametrize("wrong", [(0, 5, 0.5), (5, 0, 0.5), (5, 5, 0), (5, 5, 1.1)])
def test_no_frame_without_a_picture_or_a_product(wrong):
    width, height, size = wrong
    with pytest.raises(ValueError):
        Frame(width, height, 0.5, 0.8, size)
