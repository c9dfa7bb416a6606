"""Pixels become files: formats, sizes, and what is lost."""

import io

import numpy as np
import pytest
from PIL import Image

from server.core import ImageFormat, OutputSpec
from server.imaging.encode import encode, show_packshot, shrink


def draw(height=48, width=64):
    """Soft colours with some noise."""
    y, x = np.mgrid[:height, :width] / 64
    waves = np.stack([np.sin(5 * x), np.cos(4 * y), np.sin(3 * (x + y))], axis=2)
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def open_image(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("format", ImageFormat)
def test_a_file_is_what_it_says(format):
    encoded = encode(draw(), OutputSpec(format), seed=11)
    image = open_image(encoded.data)
    assert image.format == format.name and image.mode == "RGB"
    assert encoded.mime_type == f"image/{format.value}"
    assert image.size == (encoded.width, encoded.height) == (64, 48)
    assert encoded.seed == 11


def test_png_loses_nothing():
    pixels = draw()
    assert np.array_equal(np.asarray(open_image(encode(pixels, OutputSpec(), 0).data)), pixels)


@pytest.mark.parametrize("format", [ImageFormat.WEBP, ImageFormat.JPEG])
def test_quality_costs_bytes_and_buys_likeness(format):
    pixels, sizes, errors = draw(), [], []
    for quality in (10, 60, 100):
        data = encode(pixels, OutputSpec(format, quality), 0).data
        sizes.append(len(data))
        errors.append(np.abs(np.asarray(open_image(data)).astype(int) - pixels).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
    assert errors[-1] < 5


@pytest.mark.parametrize("format", ImageFormat)
def test_the_same_pixels_give_the_same_bytes(format):
    assert encode(draw(), OutputSpec(format), 0) == encode(draw(), OutputSpec(format), 0)


@pytest.mark.parametrize("format", ImageFormat)
def test_a_file_says_nothing_but_its_pixels(format):
    image = open_image(encode(draw(), OutputSpec(format), 0).data)
    assert not image.getexif() and "comment" not in image.info and "xmp" not in image.info


@pytest.mark.parametrize(
    ("size", "longest_side", "expected"),
    [
        ((48, 64), 32, (24, 32)),
        ((64, 48), 32, (32, 24)),
        ((48, 64), 64, (48, 64)),
        ((48, 64), 65, (48, 64)),
        ((48, 64), 5000, (48, 64)),
        ((2, 200), 10, (1, 10)),
    ],
)
def test_shrinking_never_enlarges_and_keeps_proportions(size, longest_side, expected):
    assert shrink(draw(*size), longest_side).shape == (*expected, 3)


def test_what_need_not_shrink_is_left_alone():
    pixels = draw()
    assert shrink(pixels, 64) is pixels


def test_a_packshot_is_shown_on_white():
    cutout = np.zeros((40, 20, 4), np.uint8)
    cutout[10:30] = (200, 10, 10, 255)
    shown = show_packshot(cutout, 512)
    assert shown.shape == (40, 20, 3)
    assert (shown[:10] == 255).all() and (shown[10:30] == (200, 10, 10)).all()
    half = cutout.copy()
    half[10:30, :, 3] = 128
    assert np.abs(show_packshot(half, 512)[20, 5].astype(int) - (227, 132, 132)).max() <= 1
    assert show_packshot(cutout, 10).shape == (10, 5, 3)


def test_an_encoded_packshot_is_an_image():
    shown = show_packshot(np.full((8, 8, 4), 255, np.uint8), 8)
    assert open_image(encode(shown, OutputSpec(), 0).data).size == (8, 8)
