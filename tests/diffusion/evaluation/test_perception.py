"""Distances between pictures: nothing to itself, more the worse it looks."""

import numpy as np
import pytest

from diffusion.evaluation.judge import load_judge
from diffusion.evaluation.perception import TextureDistance, measure_ms_ssim
from diffusion.scenes import Scene, render_scene
from diffusion.training.damage import add_noise, blur, save_as_jpeg

PICTURE = render_scene(Scene("sky", "table", 3), 192)


@pytest.fixture(scope="module")
def distance():
    return TextureDistance(load_judge())


def spoil(kind, level):
    rng = np.random.default_rng(0)
    if kind == "noise":
        return add_noise(PICTURE, level, rng)
    return blur(PICTURE, level / 10) if kind == "blur" else save_as_jpeg(PICTURE, int(60 - level))


def test_a_picture_is_like_itself(distance):
    assert distance.measure(PICTURE, PICTURE) == pytest.approx(0, abs=1e-6)
    assert measure_ms_ssim(PICTURE, PICTURE) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["noise", "blur", "jpeg"])
def test_more_damage_is_further_away(distance, kind):
    spoilt = [spoil(kind, level) for level in (5, 20, 50)]
    distances = [distance.measure(picture, PICTURE) for picture in spoilt]
    likeness = [measure_ms_ssim(picture, PICTURE) for picture in spoilt]
    assert 0 < distances[0] < distances[1] < distances[2] < 1
    assert 1 > likeness[0] > likeness[1] > likeness[2] > 0


def test_it_is_the_same_both_ways(distance):
    spoilt = spoil("noise", 20)
    there, back = distance.measure(spoilt, PICTURE), distance.measure(PICTURE, spoilt)
    assert there == pytest.approx(back, abs=1e-6)


def test_blur_looks_worse_than_more_light_of_the_same_error(distance):
    """What PSNR does not see and eyes do: here in the structure of a picture."""
    blurred = spoil("blur", 30)
    sigma = float(np.sqrt(((blurred.astype(float) - PICTURE) ** 2).mean()))
    lighter = np.clip(PICTURE.astype(float) + sigma, 0, 255).astype(np.uint8)
    assert distance.measure(blurred, PICTURE) > 2 * distance.measure(lighter, PICTURE)
