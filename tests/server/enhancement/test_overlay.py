"""Overlay: letters beside the product are found; the product and what is printed on it are not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from server.enhancement.nouns import Picture
from server.enhancement.overlay import find_overlay, judge_overlay, label
from tests.server.enhancement.pictures import open_on_white, open_with_margins


def write(pixels, words, at, size=30, ink=(90, 90, 90)):
    image = Image.fromarray(pixels)
    font = ImageFont.load_default(float(size))
    ImageDraw.Draw(image).text(at, words, fill=ink, font=font)
    return np.asarray(image)


def test_parts_that_touch_have_one_number():
    mask = np.array(
        [
            [1, 0, 1, 0, 0],
            [1, 0, 1, 0, 1],
            [0, 1, 0, 0, 1],
            [0, 0, 0, 0, 0],
            [1, 1, 0, 1, 1],
        ],
        np.bool_,
    )
    labels = label(mask)
    assert labels.max() == 4 and (labels > 0).tolist() == mask.tolist()
    assert labels[0, 0] == labels[0, 2] == labels[2, 1]
    assert len({int(labels[at]) for at in ((0, 0), (1, 4), (4, 0), (4, 3))}) == 4


def test_a_spiral_is_one_part():
    mask = np.zeros((7, 7), np.bool_)
    mask[[0, 6]] = mask[:, [0, 6]] = True
    mask[1, 0] = False
    mask[2, 0:5] = mask[2:5, 4] = True
    assert label(mask).max() == 1


@pytest.mark.parametrize("at", [(20, 12), (120, 470)])
def test_an_address_beside_the_product_is_found_where_it_is(at):
    clean = open_with_margins()
    spoilt = write(clean, "www.example.com", at)
    mask = find_overlay(Picture(spoilt))
    changed = (np.abs(spoilt.astype(int) - clean).max(axis=-1) > 12) & (clean.min(axis=-1) > 250)
    assert mask is not None and (changed & ~mask).sum() < 0.05 * changed.sum()
    assert mask.mean() < 0.1
    assert judge_overlay(mask).is_found


def test_letters_are_found_beside_a_product_with_alpha():
    pixels = open_with_margins()
    alpha = np.where(pixels.min(axis=-1) < 250, 255, 0).astype(np.uint8)
    assert find_overlay(Picture(pixels, alpha)) is None
    words = write(np.zeros((512, 512, 3), np.uint8), "SAMPLE PHOTO", (20, 10), ink=(255,) * 3)
    assert find_overlay(Picture(pixels, np.maximum(alpha, words[..., 0]))) is not None


@pytest.mark.parametrize("name", ["backpack", "abacus", "accordion", "airplane"])
def test_a_clean_packshot_has_no_letters(name):
    mask = find_overlay(Picture(open_on_white(name)))
    assert mask is None and judge_overlay(mask).score == 0


def test_a_picture_without_a_plain_border_is_not_looked_at():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert find_overlay(Picture(noise)) is None
