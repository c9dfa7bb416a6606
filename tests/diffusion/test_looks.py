"""Packshots as an image's look has them."""

import numpy as np
import pytest

from diffusion.looks import AXES, FILTERED, FILTERED_SIDE, TREATED_SIDE, dress
from diffusion.palettes import PALETTES
from diffusion.treatments import TREATMENTS, apply_treatment


@pytest.fixture(scope="module")
def cutout():
    rgba = np.random.default_rng(0).integers(0, 256, (64, 48, 4), dtype=np.uint8)
    rgba[..., 3] = 0
    rgba[8:56, 8:40, 3] = 255
    return rgba


def test_without_a_treatment_a_packshot_is_itself(cutout):
    for look in ((), ("mint", "outdoor"), ("mint", "natural")):
        assert dress(cutout, look) is cutout


@pytest.mark.parametrize("treatment", TREATMENTS[1:])
def test_a_packshot_wears_the_treatment_of_its_look(cutout, treatment):
    found = dress(cutout, ("mint", "outdoor", treatment))
    colours = PALETTES["mint"] if treatment == "duotone" else None
    assert np.array_equal(found, apply_treatment(cutout, treatment, colours))
    assert not np.array_equal(found, cutout)


@pytest.mark.parametrize("treatment", TREATMENTS[1:])
def test_treatments_see_a_packshot_of_bounded_size(treatment):
    side = FILTERED_SIDE if treatment in FILTERED else TREATED_SIDE
    fitting = np.full((side, side // 2, 4), 255, np.uint8)
    for large in (fitting, np.full((4 * side, 2 * side, 4), 255, np.uint8)):
        assert dress(large, (treatment,)).shape == fitting.shape


def test_no_word_is_on_two_axes():
    words = [word for choices in AXES.values() for word in choices]
    assert len(words) == len(set(words))
