"""Damage that is the same each time, and is what it says."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from server.demo.damage import add_noise, blur, compress, darken, photograph, write_over

DAMAGES = (add_noise, blur, compress, write_over, darken)


def packshot() -> bytes:
    picture = Image.new("RGBA", (80, 120))
    ImageDraw.Draw(picture).rectangle((10, 10, 69, 109), (20, 60, 220, 255))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def test_a_packshot_stands_in_the_middle_of_white():
    taken = pixels(photograph(packshot(), 100))
    assert taken.shape == (100, 100, 3)
    rows, columns = np.nonzero((taken != 255).any(axis=2))
    assert rows.min() + rows.max() == pytest.approx(99, abs=2)
    assert columns.min() + columns.max() == pytest.approx(99, abs=2)
    assert rows.min() > 10


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_keeps_size_and_original_and_is_the_same_again(damage):
    clean = photograph(packshot(), 100)
    before = clean.copy()
    first, second = damage(clean), damage(clean)
    assert first.size == clean.size and first.mode == "RGB"
    assert (pixels(first) == pixels(second)).all()
    assert (pixels(first) != pixels(clean)).any()
    assert (pixels(clean) == pixels(before)).all()


def test_noise_is_as_strong_as_it_says_where_nothing_is_clipped():
    grey = Image.new("RGB", (200, 200), (128, 128, 128))
    assert pixels(add_noise(grey)).std() == pytest.approx(26, rel=0.02)


def test_letters_leave_the_product_alone():
    clean = photograph(packshot(), 384)
    changed = (pixels(write_over(clean)) != pixels(clean)).any(axis=2)
    product = (pixels(clean) != 255).any(axis=2)
    assert changed.sum() > 200
    assert not (changed & product).any()
    assert not changed[0].any() and not changed[-1].any(), "whole letters"


def test_a_lamp_is_darker_and_yellow():
    white = pixels(darken(Image.new("RGB", (4, 4), "white")))[0, 0]
    assert white.tolist() == pytest.approx([140, 130, 106], abs=1)
