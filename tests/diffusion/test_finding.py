"""The product is found by its alpha, a mask, a plain ground or a model, in this order."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.restoration_cases import draw_on, load_cutouts
from diffusion.cutout import MaskSource, Matte
from diffusion.finding import cut_by_matte, cut_out, find_product
from diffusion.matting import Matting
from diffusion.pictures import as_alpha

WORLD = Path("features/world")
NOISE = np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)
BUSY = Image.fromarray(NOISE)
TRUTH = np.zeros((40, 40), np.float32)
TRUTH[10:30, 8:24] = 1

BOX = np.zeros((100, 100, 4), np.uint8)
BOX[30:70, 20:80] = (10, 200, 30, 255)


def refuse(rgb) -> Matte:
    raise AssertionError("no model is asked where the product is known")


def photograph(background: tuple[int, int, int], blur: int = 4) -> Image.Image:
    """A dark blue disc with a hole, photographed on a plain ground: smooth edges, slight noise."""
    side = 120 * blur
    y, x = np.mgrid[:side, :side] / side - 0.5
    r = np.hypot(x, y)
    cover = ((r < 0.35) & (r > 0.12))[..., None]
    picture = np.where(cover, (30, 40, 120), background).astype(np.uint8)
    small = Image.fromarray(picture).resize((120, 120), Image.Resampling.BOX)
    noise = np.random.default_rng(1).integers(-3, 4, (120, 120, 3))
    return Image.fromarray(np.clip(np.asarray(small).astype(int) + noise, 0, 255).astype(np.uint8))


def test_a_real_alpha_channel_is_taken_as_it_is():
    found = cut_out(Image.fromarray(BOX), refuse)
    assert np.array_equal(found.pixels, BOX)
    assert (found.source, found.uncertainty) == (MaskSource.ALPHA, 0)


@pytest.mark.parametrize("level", [0, 255])
def test_a_mask_that_came_along_is_taken_as_it_is_also_where_it_is_of_one_tone(level):
    """An all white mask says that there is no background, however plain the border."""
    for packshot in (photograph((255, 255, 255)), BUSY):
        mask = Image.new("L", packshot.size, level)
        found = cut_out(as_alpha(packshot, mask), refuse, is_masked=True)
        assert (found.pixels[..., 3] == level).all() and found.source is MaskSource.GIVEN


@pytest.mark.parametrize("background", [(255, 255, 255), (235, 240, 230), (250, 120, 110)])
def test_a_plain_border_becomes_transparent_up_to_the_outline(background):
    found = cut_out(photograph(background), refuse)
    rgba = found.pixels
    y, x = np.mgrid[:120, :120] / 120 - 0.5
    r = np.hypot(x, y)
    assert rgba[r > 0.37, 3].max() == 0
    assert rgba[(r < 0.33) & (r > 0.14), 3].min() == 255
    assert found.source is MaskSource.PLAIN_GROUND and 0 < found.uncertainty < 0.1
    assert found.original is rgba


def test_what_the_border_does_not_reach_stays():
    assert cut_out(photograph((255, 255, 255))).pixels[60, 60, 3] == 255


def test_the_edge_keeps_none_of_the_borders_colour():
    rgba = cut_out(photograph((255, 255, 255))).pixels
    y, x = np.mgrid[:120, :120] / 120 - 0.5
    rim = (rgba[..., 3] > 100) & (rgba[..., 3] < 255) & (np.hypot(x, y) > 0.3)
    assert rim.any()
    assert rgba[rim, 0].mean() < 90  # the product has 30, the border 255


def test_before_any_other_ground_a_model_is_asked():
    found = cut_out(BUSY, lambda rgb: Matte.of(TRUTH))
    assert np.array_equal(found.pixels[..., 3], np.rint(255 * TRUTH))
    inside = TRUTH == 1
    assert np.array_equal(found.pixels[inside, :3], np.asarray(BUSY)[inside])
    assert (found.source, found.uncertainty) == (MaskSource.MATTING, Matte.of(TRUTH).uncertainty)
    assert np.array_equal(found.original, np.asarray(BUSY)), "which its merchant shows"


@pytest.mark.parametrize("alpha", [None, np.full((40, 40), 0.5), np.zeros((40, 40))])
def test_a_picture_of_which_nothing_tells_the_product_stays_whole(alpha):
    """There is no model, it is not sure, or it sees nothing."""
    find_matte = None if alpha is None else lambda rgb: Matte.of(alpha.astype(np.float32))
    found = cut_out(BUSY, find_matte)
    assert (found.pixels[..., 3] == 255).all()
    assert np.array_equal(found.pixels[..., :3], np.asarray(BUSY))
    assert (found.source, found.uncertainty) == (MaskSource.WHOLE_PICTURE, 1)


def test_how_sure_a_model_must_be_is_up_to_who_asks():
    unsure = np.where(TRUTH > 0, 0.9, 0).astype(np.float32)  # 0.4 of it is undecided
    sources = [
        find_product(np.asarray(BUSY), None, lambda rgb: Matte.of(unsure), limit).source
        for limit in (0.3, 0.45)
    ]
    assert sources == [MaskSource.WHOLE_PICTURE, MaskSource.MATTING]


def test_an_entirely_plain_picture_stays_whole_and_no_model_is_asked():
    found = cut_out(Image.new("RGB", (30, 30), "white"), refuse)
    assert (found.pixels[..., 3] == 255).all() and found.source is MaskSource.WHOLE_PICTURE


def test_what_a_model_nearly_takes_for_the_product_is_not_seen_through():
    alpha = np.full((40, 40), 0.1, np.float32)
    alpha[10:30, 10:30] = 0.85
    rgba = cut_by_matte(np.asarray(BUSY), alpha)
    assert (rgba[10:30, 10:30, 3] == 255).all() and (rgba[..., 3] > 0).sum() == 400


def test_a_matte_gives_its_edge_the_colour_of_the_product():
    pixels = np.full((120, 160, 3), (0, 255, 0), np.uint8)
    pixels[30:90, 40:120] = (200, 40, 50)
    alpha = np.zeros((120, 160), np.float32)
    alpha[30:90, 40:120] = 1
    alpha[29, 40:120] = alpha[90, 40:120] = 0.5
    rgba = cut_by_matte(pixels, alpha)
    assert rgba[29, 60].tolist() == [200, 40, 50, 128] and rgba[0, 0, 3] == 0


def test_a_huge_picture_is_worked_on_at_the_largest_side_that_a_creative_shows():
    huge = Image.new("RGB", (3000, 1000), "white")
    huge.paste((200, 30, 40), (1000, 300, 2000, 700))
    assert cut_out(huge).pixels.shape == (683, 2048, 4)


def test_a_grey_or_paletted_picture_is_cut_out_like_any_other():
    grey = cut_out(photograph((255, 255, 255)).convert("L")).pixels
    assert grey.shape == (120, 120, 4) and grey[0, 0, 3] == 0 and grey[60, 30, 3] == 255


@pytest.fixture(scope="module")
def shipped():
    return load_cutouts(WORLD), Matting.load()


@pytest.mark.parametrize("name", ["blossom", "file-folder", "hibiscus", "light-rail", "pineapple"])
@pytest.mark.parametrize("side", [256, 600])
def test_a_product_that_no_training_has_seen_is_cut_out_of_a_scene(shipped, name, side):
    cutouts, matting = shipped
    picture, truth = draw_on("scene", name, cutouts, side)
    found = cut_out(Image.fromarray(picture), matting.find_alpha)
    mask, is_product = found.pixels[..., 3] > 127, truth > 0.5
    assert found.source is MaskSource.MATTING
    assert (mask & is_product).sum() / (mask | is_product).sum() > 0.9
    assert found.uncertainty == matting.find_alpha(picture).uncertainty
