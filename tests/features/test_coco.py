"""COCO masks against known answers."""

import numpy as np
import pytest

from features.coco import draw_mask


def test_a_polygon_is_filled():
    mask = draw_mask([[[1, 1, 4, 1, 4, 3, 1, 3]]], 5, 6)
    expected = np.zeros((5, 6), bool)
    expected[1:4, 1:5] = True  # Pillow paints the outline as well
    assert np.array_equal(mask, expected)


def test_run_lengths_go_down_the_columns():
    mask = draw_mask([{"size": [3, 2], "counts": [1, 2, 1, 2]}], 3, 2)
    assert mask.tolist() == [[False, False], [True, True], [True, True]]


def test_compressed_run_lengths_are_those_of_the_coco_api():
    # pycocotools.mask.encode of a 10 x 12 mask with rows 2..5 and columns 3..8 set
    expected = np.zeros((10, 12), bool)
    expected[2:6, 3:9] = True
    runs = [32, 4, 6, 4, 6, 4, 6, 4, 6, 4, 6, 4, 34]
    encoded = {"size": [10, 12], "counts": compress(runs)}
    assert np.array_equal(draw_mask([encoded], 10, 12), expected)
    assert encoded["counts"] == "P146000000000l0"


def compress(runs):
    """The COCO API's `rleToString`, from its description."""
    text = ""
    for index, run in enumerate(runs):
        number = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            bits = number & 0x1F
            number >>= 5
            more = number != -1 if bits & 0x10 else number != 0
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


def test_long_and_shrinking_runs_survive_compression():
    runs = [1000, 5, 70_000, 3, 2, 900, 90]
    mask = draw_mask([{"size": [80, 900], "counts": compress(runs)}], 80, 900)
    assert mask.sum() == 5 + 3 + 900


def test_all_shapes_of_a_product_count_together():
    left, right = [[0, 0, 1, 0, 1, 1, 0, 1]], [[4, 4, 5, 4, 5, 5, 4, 5]]
    assert draw_mask([left, right], 6, 6).sum() == 8


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3]],
        [[1, 2, 3, 4]],
        {"size": [2, 2], "counts": [1]},
        {"size": [3, 2], "counts": [4]},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": [2, 2]},
        "shape",
    ],
)
def test_what_is_no_shape_is_refused(segmentation):
    with pytest.raises(ValueError):
        draw_mask([segmentation], 2, 2)
