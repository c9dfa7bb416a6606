"""What is wrong with a creative is told by name, and good ones pass."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from diffusion.scenes import PALETTES, SETTINGS
from server.core import Mode
from server.imaging.compose import compose_in
from server.imaging.fidelity import measure
from server.imaging.frame import Frame
from server.imaging.verification import Limits, verify
from tests.server.imaging.drawings import draw_bottle, generate

BOTTLE = draw_bottle()
RNG = np.random.default_rng(0)


def judge(generated, mode=Mode.PRESERVE, cutout=BOTTLE, **options):
    composition = compose_in(generated, cutout, Frame.around(192, 192), mode)
    return verify(composition, measure(composition), **options)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("palette", PALETTES)
def test_good_creatives_pass(setting, palette):
    assert judge(generate(BOTTLE, 1.0, setting, palette)) == ()


@pytest.mark.parametrize("mode", Mode)
def test_they_pass_in_every_mode_and_without_a_packshot(mode):
    assert judge(generate(BOTTLE), mode) == ()
    assert judge(generate(BOTTLE), Mode.CREATE, None) == ()


@pytest.mark.parametrize("side", [64, 128, 256, 1024])
def test_they_pass_at_every_size_that_models_make(side):
    assert judge(generate(BOTTLE, side=side)) == ()


def blur(pixels, radius):
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def stripe(pixels):
    striped = pixels.astype(int)
    striped[:, ::2] += 40
    return np.clip(striped, 0, 255).astype(np.uint8)


def add_noise(pixels):
    return np.clip(pixels + RNG.normal(0, 60, pixels.shape), 0, 255).astype(np.uint8)


def spoil_half(pixels):
    half = len(pixels) // 2
    return np.concatenate((pixels[:half], RNG.integers(0, 256, pixels[half:].shape, np.uint8)))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (np.zeros_like, "blank"),
        (lambda pixels: np.full_like(pixels, 128), "blank"),
        (lambda pixels: np.full_like(pixels, (200, 120, 10)), "blank"),
        (lambda pixels: RNG.integers(0, 256, pixels.shape, np.uint8), "broken"),
        (add_noise, "broken"),
        (stripe, "broken"),
        (lambda pixels: stripe(pixels.swapaxes(0, 1)).swapaxes(0, 1), "broken"),
        (spoil_half, "broken"),
        (lambda pixels: blur(pixels, 3), "blurred"),
    ],
)
@pytest.mark.parametrize("mode", Mode)
def test_damage_is_told_by_its_name(damage, reason, mode):
    assert reason in judge(damage(generate(BOTTLE)), mode)
    assert reason in judge(damage(generate(BOTTLE)), Mode.CREATE, None)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_product_that_grew_by_a_seventh_is_refused(setting):
    assert judge(generate(BOTTLE, 1.15, setting)) == ("product_grew",)


@pytest.mark.parametrize(("length", "reasons"), [(16, ()), (32, ("product_grew",))])
def test_a_product_may_grow_by_two_percent_and_no_more(length, reasons):
    """A strip of the bottle's red goes on beside it: 1.5 % of it, or 2.5 %."""
    composition = compose_in(generate(BOTTLE), BOTTLE, Frame.around(192, 192), Mode.PRESERVE)
    right, lower = round(composition.product.right), round(composition.product.bottom)
    grown = replace(composition, pixels=composition.pixels.copy())
    grown.pixels[lower - 50 : lower - 50 + length, right : right + 5] = (190, 30, 40)
    fidelity = measure(grown)
    assert fidelity.growth_percent is not None and 1 < fidelity.growth_percent < 3
    assert verify(grown, fidelity) == reasons


def test_a_product_that_was_changed_is_refused():
    composition = compose_in(generate(BOTTLE), BOTTLE, Frame.around(128, 128), Mode.PRESERVE)
    changed = replace(composition, pixels=composition.pixels.copy())
    changed.pixels[60:70, 60:68] = (0, 0, 255)
    assert verify(changed, measure(changed)) == ("product_changed",)


def test_a_limit_can_be_moved():
    generated = generate(BOTTLE, 1.15)
    assert judge(generated, limits=Limits(max_growth_percent=100)) == ()
    assert "blurred" in judge(generated, limits=Limits(min_sharpness=1e6))


class Seen:
    def __init__(self, *reasons):
        self.reasons, self.shapes = reasons, []

    def check(self, pixels):
        self.shapes.append(pixels.shape)
        return self.reasons


def test_a_plug_in_sees_the_finished_picture_and_adds_its_reasons():
    plug_in = Seen("unsafe", "logo of another shop", "unsafe")
    assert judge(generate(BOTTLE), safety=plug_in) == ("unsafe", "logo of another shop")
    assert plug_in.shapes == [(192, 192, 3)]


def test_what_a_plug_in_raises_goes_to_the_caller():
    class Failing:
        def check(self, pixels):
            raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        judge(generate(BOTTLE), safety=Failing())
