"""The product's own pixels over surroundings in which the generated product is taken away."""

import numpy as np
import pytest

from diffusion.composition import place, place_in
from server.core import Mode
from server.creative import Box
from server.imaging.compose import compose, compose_in, compose_on_white
from server.imaging.frame import Frame
from server.imaging.layers import widen
from tests.server.imaging.drawings import draw_bottle


def draw_cutout(side=100, seed=0):
    """A disc of noise, opaque with a soft rim, on nothing."""
    rgba = np.random.default_rng(seed).integers(0, 256, (side, side, 4), dtype=np.uint8)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    rgba[..., 3] = np.clip((side / 2 - np.hypot(x, y)) * 40, 0, 255)
    return rgba


def draw_generated(side=128, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def plain(colour, side=128):
    return np.broadcast_to(np.array(colour, np.uint8), (side, side, 3)).copy()


@pytest.mark.parametrize("side", [64, 128, 200, 512])
def test_preserve_keeps_the_products_exact_codes_where_it_is_opaque(side):
    cutout = draw_cutout()
    creative = compose(draw_generated(), cutout, side, Mode.PRESERVE)
    assert creative.shape == (side, side, 3) and creative.dtype == np.uint8
    rgb, alpha = place(cutout, side)
    assert (alpha == 1).sum() > 0.1 * side**2
    assert np.array_equal(creative[alpha == 1], rgb[alpha == 1])


def test_a_product_at_its_own_size_keeps_the_merchants_pixels():
    side = 200
    cutout = draw_cutout(side=round(0.56 * side))
    creative = compose(draw_generated(), cutout, side, Mode.PRESERVE)
    top, left = round(0.80 * side) - len(cutout), round(0.5 * side - len(cutout) / 2)
    pasted = creative[top : top + len(cutout), left : left + len(cutout)]
    opaque = cutout[..., 3] == 255
    assert np.array_equal(pasted[opaque], cutout[..., :3][opaque])


def test_of_the_generated_product_nothing_is_left():
    """The product is generated twice as green as anything; the surroundings are grey."""
    cutout, generated = draw_cutout(), plain((90, 90, 90))
    cutout[..., :3] = (200, 40, 40)
    _, alpha = place(cutout, 128)
    generated[alpha > 0.02] = (0, 255, 0)
    creative = compose(generated, cutout, 256, Mode.PRESERVE).astype(int)
    _, alpha = place(cutout, 256)
    outside = creative[alpha == 0]
    assert (outside[:, 1] - outside[:, 0]).max() <= 2, "no green halo"
    assert (creative[..., 1] - creative[..., 0]).max() <= 2


def test_away_from_the_product_the_surroundings_are_as_generated():
    generated = draw_generated()
    creative = compose(generated, draw_cutout(), 128, Mode.PRESERVE)
    assert np.array_equal(creative[:20], generated[:20])


def test_the_product_throws_a_shadow_on_the_ground():
    creative = compose(plain((180, 180, 180)), draw_cutout(), 256, Mode.PRESERVE)
    assert (creative[:20] == 180).all()
    ground = round(0.80 * 256)
    assert creative[ground + 1, 100:156].mean() < 160


def test_restyle_is_the_generated_picture():
    generated = draw_generated()
    assert np.array_equal(compose(generated, draw_cutout(), 128, Mode.RESTYLE), generated)
    assert compose(generated, draw_cutout(), 300, Mode.RESTYLE).shape == (300, 300, 3)


def test_the_rim_is_widened_all_around():
    alpha = np.zeros((128, 128), np.float32)
    alpha[64, 64] = 1
    wide = widen(alpha)
    rows, columns = np.nonzero(wide)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (61, 67, 61, 67)
    assert not widen(np.zeros((128, 128), np.float32)).any()


@pytest.mark.parametrize("size", [(96, 160), (160, 96), (72, 200)])
def test_in_a_picture_of_other_proportions_the_product_stands_in_the_middle(size):
    height, width = size
    generated = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    cutout = draw_cutout()
    creative = compose(generated, cutout, 2 * max(size), Mode.PRESERVE)
    assert creative.shape == (2 * height, 2 * width, 3)
    rgb, alpha = place_in(cutout, 2 * width, 2 * height)
    assert (alpha == 1).sum() > 0.05 * alpha.size
    assert np.array_equal(creative[alpha == 1], rgb[alpha == 1])
    drawn = compose(generated, cutout, 2 * max(size), Mode.RESTYLE)
    far = np.abs(creative.astype(int) - drawn).max(axis=(1, 2))
    assert far[0] == far[-1] == 0 or height == min(size), "beyond the square nothing changes"


def test_a_packshot_alone_stands_on_white_where_a_creative_has_it():
    bottle, frame = draw_bottle(), Frame(300, 200, 0.3, 0.9, 0.7, is_mirrored=True)
    generated = np.full((96, 128, 3), 90, np.uint8)
    alone, creative = (
        compose_on_white(bottle, frame),
        compose_in(generated, bottle, frame, Mode.PRESERVE),
    )
    assert alone.product == creative.product and alone.frame == frame
    assert creative.layers is not None
    core = creative.layers.placed.put_in(frame)
    assert np.array_equal(alone.pixels[core.box][core.core], creative.pixels[core.box][core.core])
    outside = np.ones((200, 300), np.bool_)
    outside[core.box] = False
    assert (alone.pixels[outside] == 255).all(), "no shadow, no ground"


def test_a_photograph_alone_is_shown_whole():
    photo = np.full((40, 80, 3), (10, 120, 200), np.uint8)
    alone = compose_on_white(photo, Frame(100, 100, 0.5, 0.8, 0.56))
    assert alone.product == Box(22, 52, 56, 28)
    assert (alone.pixels[52:80, 22:78] == (10, 120, 200)).all()
    assert (np.delete(alone.pixels, np.s_[52:80], axis=0) == 255).all()


def test_what_of_a_packshot_alone_is_half_clear_is_half_white():
    faint = np.full((10, 10, 4), (0, 0, 0, 128), np.uint8)
    alone = compose_on_white(faint, Frame.around(50, 50))
    assert (alone.pixels[30, 25] == 127).all()


def test_a_packshot_that_reaches_beyond_its_frame_is_cut_there():
    whole = np.full((10, 10, 4), (9, 9, 9, 255), np.uint8)
    alone = compose_on_white(whole, Frame(60, 60, 0.0, 0.5, 0.5))
    assert (alone.pixels[1:29, :14] == 9).all() and (alone.pixels[:, 16:] == 255).all()
