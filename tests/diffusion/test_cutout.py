"""A product cut out: what is told of its mask, and what of a picture is its plain ground."""

import numpy as np
import pytest

from diffusion.composition import as_share
from diffusion.cutout import Cutout, MaskSource, Matte, flood_from_border


@pytest.mark.parametrize(
    ("level", "uncertainty"), [(1.0, 0.0), (0.5, 2.0), (0.25, 3.0), (0.75, 1.0), (0.0, 0.0)]
)
def test_uncertainty_is_what_is_undecided_as_a_share_of_the_product(level, uncertainty):
    matte = Matte.of(np.full((40, 30), level, np.float32))
    assert matte.uncertainty == pytest.approx(uncertainty)


@pytest.mark.parametrize(
    ("side", "level", "is_sure"),
    [(50, 1.0, True), (50, 0.95, True), (50, 0.8, False), (7, 1.0, False), (0, 1.0, False)],
)
def test_a_matte_is_sure_if_it_has_something_in_it_and_little_of_it_is_undecided(
    side, level, is_sure
):
    alpha = np.zeros((100, 100), np.float32)
    alpha[:side, :side] = level
    assert Matte.of(alpha).is_sure(max_uncertainty=0.5) is is_sure


def test_a_cut_out_has_the_uncertainty_of_its_own_alpha():
    pixels = np.full((20, 20, 4), 255, np.uint8)
    pixels[:, :4, 3] = 128
    cutout = Cutout.by_own(pixels, MaskSource.GIVEN)
    assert cutout.uncertainty == Matte.of(as_share(pixels[..., 3])).uncertainty > 0.2
    assert cutout.original is pixels and cutout.num_bytes == pixels.nbytes


def test_what_a_model_cut_out_is_not_what_its_merchant_shows():
    pixels, picture = np.zeros((20, 20, 4), np.uint8), np.ones((20, 20, 3), np.uint8)
    cutout = Cutout(pixels, MaskSource.MATTING, 0.1, picture)
    assert cutout.original is picture and cutout.num_bytes == pixels.nbytes + picture.nbytes


def test_the_flood_follows_a_winding_corridor():
    wall = np.zeros((7, 7), bool)
    is_open = ~wall
    for row, gap in ((1, 6), (3, 0), (5, 6)):
        is_open[row] = False
        is_open[row, gap] = True
    is_open[:, [0, 6]] &= np.array([[True, True]] * 7)
    assert np.array_equal(flood_from_border(is_open), is_open)
    is_open[2:5, 2:5] = False
    is_open[3, 3] = True
    assert not flood_from_border(is_open)[3, 3]
