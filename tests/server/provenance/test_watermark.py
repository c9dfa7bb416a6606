"""The mark outlives what shops do to pictures, spares the product, and is seen only where it is."""

import io

import numpy as np
import pytest
from PIL import Image

from server.core import Mode
from server.imaging.compose import compose_in, compose_on_white
from server.imaging.frame import Frame
from server.provenance.watermark import SMALLEST, Watermark
from tests.server.imaging.drawings import draw_bottle, generate

MARK = Watermark([b"k" * 32])
FRAME = Frame.around(512, 512)


def draw_creative():
    """The picture, and where the product's own pixels are."""
    composition = compose_in(generate(draw_bottle()), draw_bottle(), FRAME, Mode.PRESERVE)
    assert composition.layers is not None
    placed, own = composition.layers.placed, np.zeros((512, 512), bool)
    own[placed.box] = placed.alpha > 0
    return composition.pixels, own


def draw_packshot():
    pixels = compose_on_white(draw_bottle(), FRAME).pixels
    return pixels, pixels.min(axis=2) < 255


PICTURES = pytest.mark.parametrize("draw", [draw_creative, draw_packshot])


def reencode(pixels, kind, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def crop(pixels, share):
    height, width = pixels.shape[:2]
    return pixels[round(0.3 * share * height) :, round(share * width) :][: round(0.9 * height)]


def resize(pixels, scale):
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((round(image.width * scale), round(image.height * scale))))


ATTACKS = {
    "none": lambda pixels: pixels,
    "jpeg": lambda pixels: reencode(pixels, "JPEG", 75),
    "webp": lambda pixels: reencode(pixels, "WEBP", 80),
    "crop": lambda pixels: crop(pixels, 0.18),
    "half": lambda pixels: resize(pixels, 0.5),
    "crop and jpeg": lambda pixels: reencode(crop(pixels, 0.12), "JPEG", 75),
}


@PICTURES
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_mark_is_found_after_what_shops_do_to_pictures(draw, attack):
    marked = MARK.mark(*draw())
    score = MARK.find(ATTACKS[attack](marked))
    assert score.is_marked, f"{score.value:.1f} of {score.threshold:.1f}"


@PICTURES
def test_no_pixel_of_the_product_changes_and_the_others_hardly(draw):
    pixels, own = draw()
    marked = MARK.mark(pixels, own)
    assert np.array_equal(marked[own], pixels[own]) and own.any()
    error = np.mean((marked.astype(float) - pixels) ** 2)
    assert 10 * np.log10(255**2 / error) > 45
    assert (marked[~own] != pixels[~own]).any(axis=1).mean() > 0.3, "enough of it carries the mark"


@PICTURES
def test_nothing_is_found_without_the_mark_or_with_another_key(draw):
    pixels, own = draw()
    assert not MARK.find(pixels).is_marked
    assert not MARK.find(reencode(pixels, "JPEG", 75)).is_marked
    assert not MARK.find(Watermark([b"other key"]).mark(pixels, own)).is_marked


def test_a_picture_that_repeats_itself_is_not_taken_for_a_marked_one():
    y, x = np.mgrid[:512, :512]
    waves = np.sin(2 * np.pi * 12 * x / 128) + np.sin(2 * np.pi * 9 * (x + y) / 128)
    pixels = np.repeat((128 + 40 * waves)[..., None], 3, axis=2).astype(np.uint8)
    assert not MARK.find(pixels).is_marked
    assert not MARK.find(np.full((300, 400, 3), 255, np.uint8)).is_marked


def test_what_an_earlier_key_marked_is_found_after_a_new_one_came():
    pixels, own = draw_creative()
    rotated = Watermark([b"new key", b"k" * 32])
    assert rotated.find(MARK.mark(pixels, own)).is_marked
    assert not MARK.find(rotated.mark(pixels, own)).is_marked


@pytest.mark.parametrize("size", [(768, 256), (288, 512), (1024, 1024)])
def test_pictures_of_other_sizes_and_proportions_carry_it(size):
    pixels = np.full((size[1], size[0], 3), (236, 220, 195), np.uint8)
    assert MARK.find(reencode(MARK.mark(pixels), "JPEG", 75)).is_marked


def test_too_small_a_picture_stays_as_it_is():
    pixels = np.full((SMALLEST - 1, 90, 3), 200, np.uint8)
    assert MARK.mark(pixels) is pixels
