"""A packshot in a treatment is made once, so that what is made of it is found again."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffusion.looks import FILTERED, FILTERED_SIDE, TREATED_SIDE
from diffusion.palettes import PALETTES
from diffusion.treatments import TREATMENTS, apply_treatment
from server.core import Mode, Pixels
from server.finishing import dress
from server.imaging.compose import compose_in
from server.imaging.frame import Frame

LOOK = ("sky", "studio", "duotone")


def draw_cutout(seed=0, side=40):
    cutout = np.random.default_rng(seed).integers(0, 256, (side, side, 4), dtype=np.uint8)
    cutout[..., 3] = 255
    return cutout


def commission(cutout, mode=Mode.CREATE, creates_by_pasting=True) -> Any:
    return SimpleNamespace(
        product=SimpleNamespace(cutout=cutout),
        request=SimpleNamespace(mode=mode),
        model=SimpleNamespace(creates_by_pasting=creates_by_pasting),
    )


def show(cutout, look) -> Pixels:
    shown, _ = dress(commission(cutout), look)
    assert shown is not None
    return shown


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_a_creation_shows_the_packshot_in_the_treatment_of_its_look(treatment):
    cutout = draw_cutout()
    treated, mode = dress(commission(cutout), ("sky", "studio", treatment))
    assert mode is Mode.PRESERVE and treated is not None
    inks = PALETTES["sky"] if treatment == "duotone" else None
    assert np.array_equal(treated, apply_treatment(cutout, treatment, inks))


@pytest.mark.parametrize("treatment", TREATMENTS[1:])
def test_a_large_packshot_is_treated_at_a_size_that_takes_no_seconds(treatment):
    side = FILTERED_SIDE if treatment in FILTERED else TREATED_SIDE
    shown = show(draw_cutout(side=2 * TREATED_SIDE), ("sky", "studio", treatment))
    assert max(shown.shape) == side


def test_the_same_look_of_the_same_product_is_made_once_with_its_layers():
    asked, pixels = commission(draw_cutout()), np.zeros((64, 64, 3), np.uint8)
    first, again = dress(asked, LOOK)[0], dress(asked, LOOK)[0]
    assert first is again
    layers = [
        compose_in(pixels, treated, Frame.around(64, 64), Mode.PRESERVE).layers
        for treated in (first, again)
    ]
    assert layers[0] is layers[1] is not None


def test_another_look_or_another_product_is_another_picture():
    cutout = draw_cutout()
    first = show(cutout, LOOK)
    for other, look in [
        (cutout, ("rose", "studio", "duotone")),
        (cutout, ("sky", "studio", "flat")),
        (cutout, ("duotone",)),
        (draw_cutout(1), LOOK),
    ]:
        assert not np.array_equal(show(other, look), first)


@pytest.mark.parametrize("mode", [Mode.PRESERVE, Mode.RESTYLE])
def test_the_packshot_itself_stays_in_other_modes(mode):
    cutout = draw_cutout()
    assert dress(commission(cutout, mode), LOOK) == (cutout, mode)


def test_a_model_that_draws_products_gets_the_packshot_as_it_is():
    cutout = draw_cutout()
    assert dress(commission(cutout, creates_by_pasting=False), LOOK) == (cutout, Mode.CREATE)
    assert dress(commission(None), LOOK) == (None, Mode.CREATE)
    assert dress(commission(cutout), ("sky", "studio"))[0] is cutout, "nothing was treated"
