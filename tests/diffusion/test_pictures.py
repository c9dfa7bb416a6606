"""Whatever merchants send is opened as upright 8 bit sRGB, or refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from diffusion.pictures import PictureUnusable, as_alpha, open_mask, open_picture

COLOUR = (200, 30, 90)


def draw(mode="RGB", size=(40, 30)) -> Image.Image:
    """White on the right, a colour on the left, and a ramp at the foot."""
    image = Image.new("RGB", size, COLOUR)
    image.paste("white", (size[0] // 2, 0, *size))
    image.paste(Image.linear_gradient("L").rotate(90).resize((size[0], 4)), (0, size[1] - 4))
    return image.convert(mode)


def save(image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, depth, colour_type, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of kinds that Pillow does not write; `rows` begin with a filter's byte each."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff_of_16_bit(pixels: np.ndarray) -> bytes:
    """RGB [H, W, 3] of uint16 as an uncompressed little-endian TIFF."""
    height, width, _ = pixels.shape
    body = pixels.astype("<u2").tobytes()
    start = 8 + len(body)
    depth_at = start + 2 + 9 * 12 + 4
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, depth_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, len(body)),
    ]
    tags = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHI", b"II", 42, start)
    return head + body + struct.pack("<H", 9) + tags + bytes(4) + struct.pack("<3H", 16, 16, 16)


def open_pixels(data: bytes) -> np.ndarray:
    return np.asarray(open_picture(data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_file_keeps_its_codes(kind):
    opened = open_picture(save(draw(), kind))
    assert opened.mode == "RGB" and np.array_equal(np.asarray(opened), np.asarray(draw()))


def test_a_lossless_webp_with_alpha_keeps_its_codes():
    image = draw("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    opened = open_picture(save(image, "WEBP", lossless=True, exact=True))
    assert opened.mode == "RGBA" and np.array_equal(np.asarray(opened), np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_is_turned_the_way_its_camera_was_held(kind, orientation):
    """The dark corner lies where the eight orientations of EXIF 2.3 say."""
    upright = np.full((32, 48, 3), 255, np.uint8)
    upright[:8, :8] = 0
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    opened = open_pixels(save(stored, kind, exif=exif.tobytes()))
    assert opened.shape == (32, 48, 3)
    assert opened[:7, :7].max() < 60 and opened[12:, 12:].min() > 200


def test_broken_exif_does_not_make_a_picture_unreadable():
    data = save(draw(), "JPEG", exif=b"Exif\0\0" + b"nonsense" * 4)
    assert open_picture(data).size == (40, 30)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind):
    opened = open_pixels(save(draw("CMYK"), kind, quality=95))
    assert np.abs(opened[4, 4].astype(int) - COLOUR).max() <= 8
    assert opened[4, 36].min() >= 250


def test_ycck_of_adobe_becomes_rgb():
    """Pillow writes CMYK as it is: its planes are made those of YCCK, and the marker says so."""
    cyan, magenta, yellow, key = draw("CMYK").split()
    planes = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    stored = Image.merge("CMYK", [*(plane.point(lambda v: 255 - v) for plane in planes), key])
    data = bytearray(save(stored, "JPEG", quality=95))
    adobe = data.index(b"Adobe")
    assert data[adobe + 11] == 0
    data[adobe + 11] = 2
    opened = open_pixels(bytes(data))
    assert np.abs(opened[4, 4].astype(int) - COLOUR).max() <= 8
    assert opened[4, 36].min() >= 250


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bit_keeps_its_upper_byte(kind):
    codes = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40)
    opened = open_pixels(save(Image.fromarray(codes), kind))
    assert np.array_equal(opened[..., 0], codes >> 8) and opened.shape == (30, 40, 3)


def test_a_clear_grey_of_16_bit_is_transparent():
    codes = np.array([[0x1234, 0x1235]], ">u2")
    data = png(2, 1, 16, 0, b"\0" + codes.tobytes(), (b"tRNS", struct.pack(">H", 0x1234)))
    assert open_pixels(data).tolist() == [[[18, 18, 18, 0], [18, 18, 18, 255]]]


def test_rgb_of_48_bit_keeps_its_upper_bytes():
    codes = np.random.default_rng(0).integers(0, 65536, (30, 40, 3)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in codes)
    assert np.array_equal(open_pixels(png(40, 30, 16, 2, rows)), codes >> 8)
    assert np.array_equal(open_pixels(tiff_of_16_bit(codes)), codes >> 8)


def test_grey_with_alpha_of_16_bit_is_read():
    codes = np.array([[[0x8000, 0xFFFF], [0x4000, 0x0000]]], ">u2")
    opened = open_pixels(png(2, 1, 16, 4, b"\0" + codes.tobytes()))
    assert opened.tolist() == [[[128, 128, 128, 255], [64, 64, 64, 0]]]


def test_a_palette_with_transparency_keeps_it():
    image = draw().quantize(16)
    white = image.getpixel((36, 4))
    opened = open_picture(save(image, transparency=white))
    assert opened.mode == "RGBA"
    assert opened.getchannel("A").getpixel((36, 4)) == 0 and opened.getpixel((4, 4)) == (
        *COLOUR,
        255,
    )


def test_a_palette_of_many_alphas_keeps_them():
    image = Image.linear_gradient("L").resize((40, 30)).convert("P")
    opened = open_pixels(save(image, transparency=bytes(range(256))))
    assert opened[0, 0, 3] < 20 and opened[-1, 0, 3] > 235


@pytest.mark.parametrize(("mode", "wanted"), [("1", "RGB"), ("L", "RGB"), ("LA", "RGBA")])
def test_grey_of_any_depth_becomes_colour(mode, wanted):
    opened = open_picture(save(draw(mode), "PNG"))
    assert opened.mode == wanted
    assert np.array_equal(np.asarray(opened), np.asarray(draw(mode).convert(wanted)))


def swapped_profile() -> bytes:
    """sRGB with red and green exchanged: what it does to a colour can be told."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_a_colour_profile_is_converted_to_srgb():
    opened = open_pixels(save(draw(), icc_profile=swapped_profile()))
    assert np.abs(opened[4, 4].astype(int) - (30, 200, 90)).max() <= 2
    assert opened[4, 36].min() >= 254


def test_a_colour_profile_leaves_alpha_alone():
    image = draw("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    opened = open_pixels(save(image, icc_profile=swapped_profile()))
    assert np.array_equal(opened[..., 3], np.asarray(image)[..., 3])
    assert np.abs(opened[4, 4, :3].astype(int) - (30, 200, 90)).max() <= 2


def test_a_profile_that_is_srgb_moves_no_code():
    noise = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
    assert np.array_equal(
        open_pixels(save(Image.fromarray(noise), icc_profile=srgb_profile())), noise
    )


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200, None])
def test_a_profile_of_no_use_is_passed_over(profile):
    """Also one of colours on a picture in CMYK."""
    image = draw("CMYK") if profile is None else draw()
    data = save(image, "TIFF", icc_profile=profile or swapped_profile())
    assert np.abs(open_pixels(data)[4, 4].astype(int) - COLOUR).max() <= 1


@pytest.mark.parametrize(("kind", "text"), [("PNG", "animated"), ("TIFF", "several pages")])
def test_more_than_one_picture_is_refused_by_name(kind, text):
    data = save(draw(), kind, save_all=True, append_images=[draw().rotate(180)])
    with pytest.raises(PictureUnusable, match=text):
        open_picture(data)


def test_numbers_that_are_no_codes_are_refused_by_name():
    floats = Image.fromarray(np.zeros((4, 4), np.float32))
    with pytest.raises(PictureUnusable, match="floating point"):
        open_picture(save(floats, "TIFF"))


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(PictureUnusable, match=r"is empty|does not decode"):
        open_picture(png(0, 5, 8, 2, b""))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "TIFF", "BMP"])
def test_a_truncated_picture_is_refused(kind):
    whole = save(draw(size=(400, 300)).effect_spread(9), kind)
    with pytest.raises(PictureUnusable, match="does not decode as PNG, WebP, JPEG, TIFF or BMP"):
        open_picture(whole[: len(whole) // 2])


def test_a_picture_of_too_many_pixels_is_refused_by_its_header():
    with pytest.raises(PictureUnusable, match="40000 × 40000 pixels|far larger"):
        open_picture(png(40_000, 40_000, 8, 2, bytes(100)))
    with pytest.raises(PictureUnusable, match=r"5000 × 4001 pixels; at most 20 megapixels"):
        open_picture(png(5000, 4001, 1, 0, bytes(100)))


def test_a_mask_marks_where_it_is_white_and_opaque():
    mask = Image.new("RGBA", (40, 30), "white")
    mask.paste((255, 255, 255, 0), (0, 0, 20, 30))
    mask.paste((0, 0, 0, 255), (30, 0, 40, 30))
    found = np.asarray(open_mask(save(mask), (40, 30)))
    assert found[0, 10] == 0 and found[0, 25] == 255 and found[0, 35] == 0


def test_a_mask_of_another_size_is_refused_by_both_sizes():
    with pytest.raises(PictureUnusable, match="is 40 × 30 pixels, but the picture is 30 × 40"):
        open_mask(save(draw("L")), (30, 40))


def test_a_mask_becomes_alpha_but_shows_nothing_that_is_transparent_itself():
    image = draw("RGBA")
    image.paste((9, 9, 9, 0), (0, 0, 10, 30))
    mask = Image.new("L", image.size, 0)
    mask.paste(128, (5, 0, 20, 30))
    alpha = np.asarray(as_alpha(image, mask))[0, :, 3]
    assert alpha[7] == 0 and alpha[15] == 128 and alpha[30] == 0
