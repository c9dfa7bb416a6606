"""Diagnosis: nothing is wrong with a clean packshot, and each defect is found where it is."""

import numpy as np
import pytest

from benchmarks.diagnosis import move_aside, shrink_to_thumbnail
from diffusion.training.damage import add_noise, blur, save_as_jpeg
from server.enhancement.diagnosis import diagnose
from server.enhancement.nouns import Defect, Picture
from tests.server.enhancement.pictures import expose, open_cutout, open_on_white

SPOILT = {
    Defect.BLUR: lambda pixels, rng: blur(pixels, 2),
    Defect.NOISE: lambda pixels, rng: add_noise(pixels, 15, rng),
    Defect.JPEG_BLOCKS: lambda pixels, rng: save_as_jpeg(pixels, 20),
    Defect.LOW_RESOLUTION: shrink_to_thumbnail,
    Defect.EXPOSURE: lambda pixels, rng: expose(pixels, 0.2),
    Defect.COLOUR_CAST: lambda pixels, rng: expose(pixels, (1, 0.85, 0.7)),
    Defect.OFF_CENTRE: move_aside,
    Defect.CUT_OFF: lambda pixels, rng: pixels[: 3 * len(pixels) // 5],
}


def find(picture):
    return {defect for defect, measure in diagnose(picture).items() if measure.is_found}


@pytest.mark.parametrize("name", ["backpack", "abacus", "amphora", "bagel"])
def test_nothing_is_wrong_with_a_clean_packshot(name):
    rgba = open_cutout(name)
    assert find(Picture(open_on_white(name))) == set()
    assert find(Picture(rgba[..., :3], rgba[..., 3])) == set()


@pytest.mark.parametrize("defect", SPOILT)
def test_each_defect_is_found_where_it_is(defect):
    spoilt = SPOILT[defect](open_on_white(), np.random.default_rng(0))
    assert defect in find(Picture(spoilt))


def test_all_defects_are_told_in_order_with_scores_and_words():
    diagnosis = diagnose(Picture(open_on_white()))
    assert list(diagnosis) == list(Defect)
    assert all(0 <= measure.score <= 1 and measure.words for measure in diagnosis.values())


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3), (9, 500)])
def test_the_smallest_pictures_are_looked_at_too(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert list(diagnose(Picture(pixels))) == list(Defect)
    assert list(diagnose(Picture(pixels, np.zeros(size, np.uint8)))) == list(Defect)
