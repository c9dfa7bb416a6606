"""Names of images, and records as lines."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion.cutout import MaskSource
from server.bulk.manifest import SCHEMA
from server.bulk.record import Failure, Record, describe_image, name_image
from server.core import EncodedImage
from server.creative import Box, Element, Fidelity, Kind, Layout, TextStyle
from server.doors.columns import read_row
from server.doors.creatives import layout_from_proto


@pytest.mark.parametrize(
    ("name", "number", "path"),
    [
        ("sku-17", None, "images/sku-17.png"),
        ("sku-17", 0, "images/sku-17~0.png"),
        ("a/b", None, "images/a%2Fb.png"),
        ("..", None, "images/%2E..png"),
        ("..", 1, "images/%2E.~1.png"),
        ("a~1", None, "images/a%7E1.png"),
        ("día 1?*", None, "images/d%C3%ADa%201%3F%2A.png"),
    ],
)
def test_names_of_images_are_safe_and_can_be_read(name, number, path):
    assert name_image(name, number, "image/png") == path


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=128), st.none() | st.integers(0, 7)),
        min_size=2,
        unique=True,
    )
)
def test_no_two_images_have_one_path_and_no_path_is_too_long_or_leaves_the_folder(images):
    paths = [name_image(name, number, "image/webp") for name, number in images]
    assert len(set(paths)) == len(images)
    for path in paths:
        folder, _, file = path.partition("/")
        assert folder == "images" and path.isascii() and len(f".{file}.unfinished") <= 255
        assert not set(file) & set('/\\:*?"<>|') and not file.startswith(".")


def test_long_names_that_begin_alike_stay_apart():
    first, second = (name_image("é" * 127 + end, None, "image/jpeg") for end in "ab")
    assert first != second and first.endswith(".jpg") and len(first) < 200


def test_a_record_is_one_line_and_comes_back():
    images = ({"path": "images/a.png", "seed": 2**64 - 1, "look": ["mint"]},)
    made = Record("a\nb", 3, "00ff", {"reason": "applied"}, images)
    failed = Record("é", 4, "11", failure=Failure("NOT_FOUND", "PRODUCT_NOT_FOUND", "no product"))
    for record in (made, failed):
        line = record.to_line()
        assert line.count(b"\n") == 1 and line.endswith(b"\n")
        again = Record.from_line(line)
        assert again.to_line() == line and again.is_finished is (record is made)


@pytest.mark.parametrize(
    ("source", "word"), [(MaskSource.PLAIN_GROUND, "plain_ground"), (None, "")]
)
def test_how_true_an_image_is_goes_through_a_line_into_columns(source, word):
    fidelity = Fidelity(0, 1.5, 0.25, 9.0, source)
    told = describe_image("a.png", EncodedImage(b"", "image/png", 8, 6, 1, fidelity))
    (again,) = Record.from_line(Record("a", 1, "d", images=(told,)).to_line()).images
    assert again == told and set(told) <= set(SCHEMA.names)
    assert (told["growth_percent"], told["mask_uncertainty"], told["mask_source"]) == (
        1.5,
        0.25,
        word,
    )


def test_a_layout_is_told_as_a_request_takes_it():
    style = TextStyle("Noto Sans Bold", 12.5, "#102030", "#ffffff80", True, "ar")
    elements = (
        Element(Kind.PRODUCT, Box(1.0, 2.5, 30.0, 40.0)),
        Element(Kind.FORMER_PRICE, Box(0.0, 0.0, 8.0, 6.0), "١٢\n١٣", style),
    )
    layout = Layout(80, 60, Box(4.0, 3.0, 72.0, 54.0), elements, is_mirrored=True)
    image = EncodedImage(b"", "image/png", 8, 6, 1, is_original=True, layout=layout)
    told = describe_image("a.png", image)
    row = read_row({"product_id": "a", "layout": told["layout"]})
    assert not row.violations and layout_from_proto(row.request.layout, "en") == layout
    assert told["is_original"] is True and set(told) <= set(SCHEMA.names)
    assert describe_image("a.png", replace(image, layout=None))["layout"] is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"name":"a"}', b'{"nam'])
def test_a_torn_line_is_no_record(line):
    with pytest.raises((ValueError, TypeError)):
        Record.from_line(line)
