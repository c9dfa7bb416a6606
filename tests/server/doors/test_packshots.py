import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.doors.packshots import find_fault, find_mask_fault
from tests.server.doors import pictures

UNREADABLE = "does not decode as PNG, WebP, JPEG, TIFF or BMP"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_still_image_of_each_format_is_fine(kind, mode):
    assert find_fault(pictures.encode(kind, mode=mode)) is None


def test_an_alpha_channel_and_a_palette_are_fine():
    assert find_fault(pictures.encode("PNG", mode="RGBA")) is None
    assert find_fault(pictures.encode("PNG", mode="P")) is None


def test_a_jpeg_with_a_second_picture_in_it_is_a_still_image():
    assert find_fault(pictures.jpeg_with_two_pictures()) is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animated_image_is_refused_by_name(kind):
    assert "animated" in str(find_fault(pictures.animate(kind)))


@pytest.mark.parametrize("kind", ["GIF", "ICO", "PPM"])
def test_an_image_of_another_format_is_refused(kind):
    assert find_fault(pictures.encode(kind)) == UNREADABLE


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_truncated_image_is_refused(kind):
    whole = pictures.encode(kind, size=(200, 200))
    assert find_fault(whole[: len(whole) // 2]) == UNREADABLE


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_bytes_that_are_no_image_are_refused(data):
    assert find_fault(data) == UNREADABLE


def test_twenty_megapixels_are_allowed_and_a_row_more_is_not():
    assert find_fault(pictures.encode("PNG", size=(5000, 4000), mode="1")) is None
    fault = find_fault(pictures.encode("PNG", size=(5000, 4001), mode="1"))
    assert fault == "is 5000 × 4001 pixels; at most 20 megapixels are allowed"


@pytest.mark.parametrize("side", [5_000, 10_000, 50_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side):
    bomb = pictures.png_that_claims(side, side)
    assert len(bomb) < 1000
    assert "megapixels" in str(find_fault(bomb))


def test_a_comment_that_unfolds_into_a_hundred_megabytes_is_refused():
    assert find_fault(pictures.png_with_a_text_bomb()) == UNREADABLE


def test_a_mask_of_the_packshots_size_is_fine_and_one_of_another_is_refused_by_its_size():
    packshot = pictures.encode("JPEG", size=(24, 16))
    assert find_mask_fault(pictures.encode("PNG", size=(24, 16), mode="L"), packshot) is None
    fault = find_mask_fault(pictures.encode("PNG", size=(16, 24), mode="L"), packshot)
    assert fault == "is 16 × 24 pixels, but the picture is 24 × 16"
    assert find_mask_fault(b"no mask", packshot) == UNREADABLE


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "WEBP", "JPEG", "TIFF", "BMP"]),
    at=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=8),
)
def test_a_damaged_image_is_fine_or_refused_but_never_an_exception(kind, at, junk):
    data = bytearray(pictures.encode(kind, size=(40, 30)))
    start = int(at * len(data))
    data[start : start + len(junk)] = junk
    assert find_fault(bytes(data)) != ""
