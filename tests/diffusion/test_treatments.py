"""Treatments change the rendering and keep the product."""

import numpy as np
import pytest

from diffusion.palettes import PALETTES, channels
from diffusion.treatments import TREATMENTS, apply_treatment


def ball(side: int = 96) -> np.ndarray:
    """A shaded red ball on nothing."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    r = np.hypot(x, y)
    light = np.clip(1.1 - 1.2 * np.hypot(x + 0.1, y + 0.1) / 0.4, 0.2, 1)
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[..., 0] = 90 + 160 * light
    rgba[..., 1] = rgba[..., 2] = 20 + 100 * light
    rgba[..., 3] = np.clip((0.4 - r) * side + 0.5, 0, 1) * 255
    return rgba


def shape_of(rgba: np.ndarray) -> np.ndarray:
    return rgba[..., 3] > 127


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_every_treatment_keeps_size_and_type_and_leaves_its_input_alone(treatment):
    product = ball()
    before = product.copy()
    drawn = apply_treatment(product, treatment, PALETTES["sky"])
    assert drawn.shape == product.shape and drawn.dtype == np.uint8
    assert np.array_equal(product, before)


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_every_treatment_gives_the_same_pixels_each_time(treatment):
    first, again = (apply_treatment(ball(), treatment, PALETTES["rose"]) for _ in range(2))
    assert np.array_equal(first, again)


def test_natural_changes_nothing():
    assert np.array_equal(apply_treatment(ball(), "natural", None), ball())


def test_an_unknown_treatment_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="choose one of natural, flat"):
        apply_treatment(ball(), "cubist", None)


@pytest.mark.parametrize("treatment", ["flat", "duotone"])
def test_flat_and_duotone_keep_the_outline_exactly(treatment):
    drawn = apply_treatment(ball(), treatment, PALETTES["mint"])
    assert np.array_equal(drawn[..., 3], ball()[..., 3])


@pytest.mark.parametrize("treatment", ["outlined", "watercolour"])
def test_outlined_and_watercolour_stay_within_the_frame_and_on_the_product(treatment):
    drawn = shape_of(apply_treatment(ball(), treatment, PALETTES["mint"]))
    both, either = (drawn & shape_of(ball())).sum(), (drawn | shape_of(ball())).sum()
    assert both / either > 0.75
    assert not (drawn[0].any() or drawn[-1].any() or drawn[:, 0].any() or drawn[:, -1].any())


def test_flat_has_a_handful_of_colours_where_the_packshot_has_many():
    inside = np.s_[30:66, 30:66, :3]

    def common_colours(rgba: np.ndarray) -> int:
        counts = np.unique(rgba[inside].reshape(-1, 3), axis=0, return_counts=True)[1]
        kept = np.sort(counts)[::-1].cumsum() / counts.sum()
        return int(np.argmax(kept > 0.6)) + 1

    assert common_colours(apply_treatment(ball(), "flat", None)) <= 8
    assert common_colours(ball()) > 20


def test_an_outlined_product_has_a_white_rim_inside_a_thin_deep_line():
    palette = PALETTES["coral"]
    drawn = apply_treatment(ball(256), "outlined", palette)
    column = drawn[:128, 128]
    solid = column[column[:, 3] > 250, :3].astype(int)
    assert np.abs(solid[0] - channels(palette.deep)).max() < 40
    assert (solid.min(axis=1) > 245).sum() >= 4


@pytest.mark.parametrize("palette", PALETTES.values(), ids=lambda palette: palette.name)
def test_duotone_runs_from_dark_ink_to_paper_in_the_order_of_the_greys(palette):
    ramp = np.zeros((8, 256, 4), np.uint8)
    ramp[..., :3] = np.arange(256)[None, :, None]
    ramp[..., 3] = 255
    drawn = apply_treatment(ramp, "duotone", palette)[4, :, :3].astype(int)
    grey = drawn @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) >= -1).all()
    assert np.abs(drawn[-1] - channels(palette.light)).max() <= 1
    assert np.abs(drawn[128] - channels(palette.main)).max() <= 6


def test_watercolour_has_a_soft_edge_and_grain_where_the_product_was_plain():
    plain = ball()
    plain[..., :3] = (200, 60, 60)
    drawn = apply_treatment(plain, "watercolour", None)
    assert ((drawn[..., 3] > 20) & (drawn[..., 3] < 235)).sum() > 2 * (
        (plain[..., 3] > 20) & (plain[..., 3] < 235)
    ).sum()
    assert drawn[36:60, 36:60, 0].std() > 1.5


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_a_treated_product_is_still_nearest_to_itself(treatment):
    """By its lightness at 12 px: a ball is not taken for a bar, nor a bar for a ball."""
    bar = np.zeros((96, 96, 4), np.uint8)
    bar[10:86, 36:60] = (60, 90, 200, 255)

    def sketch(rgba):
        white = 255 - rgba[..., 3:] / 255 * (255 - rgba[..., :3].astype(float))
        return white.mean(axis=-1).reshape(12, 8, 12, 8).mean(axis=(1, 3))

    for own, other in ((ball(), bar), (bar, ball())):
        seen = sketch(apply_treatment(own, treatment, PALETTES["lavender"]))
        assert np.abs(seen - sketch(own)).mean() < np.abs(seen - sketch(other)).mean()


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_an_empty_packshot_stays_empty(treatment):
    empty = np.zeros((48, 48, 4), np.uint8)
    assert apply_treatment(empty, treatment, None)[..., 3].max() == 0
