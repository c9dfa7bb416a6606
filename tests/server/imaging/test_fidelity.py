"""How true a creative is to its product is measured, not assumed."""

from dataclasses import replace

import numpy as np
import pytest

from diffusion.composition import contact_shadow, place
from diffusion.cutout import Cutout, MaskSource
from diffusion.scenes import Scene, render_scene
from server.core import Mode
from server.imaging.compose import compose_in
from server.imaging.fidelity import find_sharpness, measure
from server.imaging.frame import Frame, find_size
from server.imaging.growth import Outline, find_nearest, grow, look
from server.imaging.layers import widen
from server.imaging.placements import PRESETS
from tests.server.imaging.drawings import draw_bottle, generate

BOTTLE = draw_bottle()
SETTINGS = ["studio", "glow", "table", "pattern", "outdoor", "night", "shelf", "festive"]


def compose(generated, side=256, mode=Mode.PRESERVE, cutout=BOTTLE):
    return compose_in(generated, cutout, Frame.around(side, side), mode)


def frame_of(placement, longest_side=512):
    preset = PRESETS[placement]
    size = find_size(longest_side, preset.aspect_ratio)
    return Frame(*size, preset.product_x, preset.product_ground, preset.product_size)


@pytest.mark.parametrize("side", [128, 200, 512, 1024, 2048])
def test_pasted_back_a_product_differs_by_nothing(side):
    fidelity = measure(compose(generate(BOTTLE), side))
    assert fidelity.max_difference == 0
    assert fidelity.growth_percent == 0


@pytest.mark.parametrize("placement", PRESETS)
def test_so_it_does_in_every_placement(placement):
    composition = compose_in(generate(BOTTLE), BOTTLE, frame_of(placement), Mode.PRESERVE)
    fidelity = measure(composition)
    assert (fidelity.max_difference, fidelity.growth_percent) == (0, 0)


def test_one_code_of_one_pixel_is_seen():
    composition = compose(generate(BOTTLE))
    pixels = composition.pixels.copy()
    rows, columns = composition.layers.placed.box
    pixels[(rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2, 1] -= 1
    assert measure(replace(composition, pixels=pixels)).max_difference == 1


def test_what_is_outside_the_eroded_mask_may_differ():
    composition = compose(generate(BOTTLE))
    placed = composition.layers.placed
    pixels = composition.pixels.copy()
    pixels[placed.box][~placed.core] = 0
    assert measure(replace(composition, pixels=pixels)).max_difference == 0


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_product_of_the_right_size_has_not_grown(setting):
    assert measure(compose(generate(BOTTLE, 1.0, setting))).growth_percent == 0


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("size", [1.1, 1.15, 1.2])
def test_growth_is_found_as_large_as_it_is(setting, size):
    """What is left of a larger product beyond the rim that composing empties."""
    alpha = place(BOTTLE, 128)[1]
    grown = generate(BOTTLE, size, setting)
    bare = render_scene(Scene("mint", setting, 3), 128)
    true = np.abs(grown.astype(int) - bare).max(axis=2) > 60
    rows = np.arange(128)[:, None] < 100  # its shadow is below
    expected = 100 * (true & rows & ~widen(alpha)).sum() / (alpha > 0.5).sum()
    found = measure(compose(grown)).growth_percent
    assert expected > 1 and found is not None
    assert 0.4 * expected < found < 1.8 * expected + 4


def test_growth_is_found_in_a_mirrored_and_in_a_cropped_creative():
    generated = generate(BOTTLE, 1.2)
    for frame in (Frame.around(256, 256, is_mirrored=True), Frame(300, 300, 0.5, 0.84, 0.74)):
        growth = measure(compose_in(generated, BOTTLE, frame, Mode.PRESERVE)).growth_percent
        assert growth is not None and growth > 3


def test_growth_of_a_product_in_the_colour_of_its_surroundings_is_none():
    """Nobody sees it."""
    scene = generate(BOTTLE, 1.0, "studio")
    grey = BOTTLE.copy()
    grey[..., :3] = scene[20, 64]
    growth = measure(compose(generate(grey, 1.15, "studio"), cutout=grey)).growth_percent
    assert growth is not None and growth <= 2


def test_a_product_drawn_anew_is_not_compared():
    fidelity = measure(compose(generate(BOTTLE), mode=Mode.RESTYLE))
    assert fidelity.max_difference is None and fidelity.growth_percent is None
    assert fidelity.sharpness > 0


@pytest.mark.parametrize("mode", Mode)
def test_what_told_the_mask_and_how_surely_is_told_in_every_mode(mode):
    packshot = Cutout(BOTTLE, MaskSource.MATTING, 0.25)
    fidelity = measure(compose(generate(BOTTLE), mode=mode), packshot)
    assert (fidelity.mask_source, fidelity.mask_uncertainty) == (MaskSource.MATTING, 0.25)


def test_without_a_packshot_only_sharpness_is_told():
    composition = compose_in(generate(BOTTLE), None, Frame.around(64, 64), Mode.CREATE)
    fidelity = measure(composition)
    assert (fidelity.max_difference, fidelity.growth_percent) == (None, None)
    assert (fidelity.mask_uncertainty, fidelity.mask_source) == (0, None)


def test_a_product_without_an_opaque_pixel_has_nothing_to_compare():
    veil = BOTTLE.copy()
    veil[..., 3] //= 2
    assert measure(compose(generate(veil), cutout=veil)).max_difference is None


def test_sharpness_is_the_variance_of_the_laplacian():
    assert find_sharpness(np.full((16, 16, 3), 77, np.uint8)) == 0
    assert find_sharpness(np.zeros((2, 9, 3), np.uint8)) == 0
    board = ((np.indices((16, 16)).sum(0) % 2) * 10).astype(np.uint8)
    assert find_sharpness(np.stack([board] * 3, 2)) == pytest.approx(40**2, rel=1e-4)


def test_growing_a_mask_reaches_across_corners():
    mask = np.zeros((9, 9), bool)
    mask[4, 1] = True
    wide = np.zeros((9, 9), bool)
    wide[2:7, 0:4] = True
    assert np.array_equal(grow(mask, 2), wide)


def test_the_square_of_a_frame_is_looked_at_where_it_can_be_seen():
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, :150] = 200
    shown, seen = look(pixels, Frame(300, 100, x=0.5, ground=0.8, size=1.0))
    rows = np.flatnonzero(seen.all(axis=1))
    assert seen.any(axis=1).sum() == len(rows) < 128
    assert (shown[rows, :63] == 200).all() and (shown[rows, 65:] == 0).all()
    assert not look(pixels, Frame(300, 100, x=9.0, ground=0.8, size=1.0))[1].any()


def test_strays_are_no_neighbours():
    colours = np.zeros((1, 3), np.float32)
    others = np.full((100, 3), 10, np.float32)
    others[:3] = 0
    assert find_nearest(colours, others) == 300
    assert find_nearest(colours, others[:2]) == 0


def test_an_outline_has_the_products_own_area_and_shadow():
    outline = Outline.of(BOTTLE)
    alpha = place(BOTTLE, 128)[1]
    assert outline.area == (alpha > 0.5).sum()
    assert np.array_equal(outline.light[..., 0], contact_shadow(alpha))
    assert not (outline.ring & outline.beyond).any() and not (outline.ring & outline.product).any()
