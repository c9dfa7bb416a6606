"""Pictures are opened, cut out and shown; what is none says so."""

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from diffusion.cutout import MaskSource, Matte
from features import packshots
from features.packshots import PackshotUnusable, cut_packshot, open_packshot, show_product
from tests.features.pictures import draw_on_clutter, draw_picture, to_png


def test_a_picture_with_alpha_stays_as_it_is(tmp_path):
    draw_picture().save(tmp_path / "a.png")
    rgba = open_packshot(str(tmp_path / "a.png"))
    assert np.array_equal(rgba, np.asarray(draw_picture()))


def test_a_plain_background_is_cut_away(tmp_path):
    draw_picture(alpha=False).save(tmp_path / "a.png")
    rgba = open_packshot(str(tmp_path / "a.png"))
    assert rgba[0, 0, 3] == 0 and rgba[32, 32].tolist() == [200, 30, 30, 255]


def test_a_mask_becomes_the_alpha_channel(tmp_path):
    Image.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / "a.png")
    mask = np.zeros((30, 40), np.bool_)
    mask[10:20, 5:15] = True
    rgba = open_packshot(str(tmp_path / "a.png"), mask)
    assert np.array_equal(rgba[..., 3] == 255, mask)


def test_before_clutter_a_product_is_where_a_model_sees_it(tmp_path):
    picture, alpha = draw_on_clutter()
    picture.save(tmp_path / "a.png")
    found = cut_packshot(str(tmp_path / "a.png"), find_matte=lambda rgb: Matte.of(alpha))
    assert np.array_equal(found.pixels, np.asarray(draw_picture()))
    assert found.source is MaskSource.MATTING


def test_a_picture_can_come_from_any_filesystem():
    import fsspec

    with fsspec.open("memory://shop/ball.png", "wb") as file:
        file.write(to_png(draw_picture()))
    assert open_packshot("memory://shop/ball.png").shape == (64, 64, 4)


def test_a_camera_held_sideways_is_turned_upright(tmp_path):
    image = Image.new("RGB", (40, 20), (250, 250, 250))
    image.paste((0, 0, 0), (5, 5, 15, 15))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert open_packshot(str(tmp_path / "a.jpg")).shape == (40, 20, 4)


@pytest.mark.parametrize("data", [b"", b"no image", to_png(draw_picture())[:100]])
def test_bytes_that_are_no_image_do_not_decode(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(PackshotUnusable, match="does not decode"):
        open_packshot(str(tmp_path / "a.png"))


@pytest.mark.parametrize("reference", ["missing.png", ".", "nowhere://a.png"])
def test_a_place_without_a_picture_is_named(tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackshotUnusable, match="no image at"):
        open_packshot(reference)


def test_a_picture_of_nothing_is_refused(tmp_path):
    Image.new("RGBA", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(PackshotUnusable, match="nothing can be seen"):
        open_packshot(str(tmp_path / "a.png"))


@pytest.mark.parametrize("side", [7_000, 10_000, 20_000])
def test_an_enormous_picture_is_refused_before_it_is_decoded(tmp_path, monkeypatch, side):
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    monkeypatch.setattr(PngImageFile, "load", None)
    with pytest.raises(PackshotUnusable, match="at most 40 megapixels"):
        open_packshot(str(tmp_path / "a.png"))


def test_a_mask_of_another_size_is_refused(tmp_path):
    draw_picture().save(tmp_path / "a.png")
    with pytest.raises(PackshotUnusable, match="a mask of 4 x 3 on an image of 64 x 64"):
        open_packshot(str(tmp_path / "a.png"), np.ones((3, 4), np.bool_))


def test_a_product_is_shown_on_white_where_creatives_have_it():
    shown = show_product(np.asarray(draw_picture()))
    assert shown.shape == (packshots.SIDE, packshots.SIDE, 3) and shown.dtype == np.uint8
    assert shown[2, 2].tolist() == [255, 255, 255]
    assert shown[70, 64].tolist() == [200, 30, 30]
