"""Names of images, and records as lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.bulk.record import Failure, Record, name_image


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


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"name":"a"}', b'{"nam'])
def test_a_torn_line_is_no_record(line):
    with pytest.raises((ValueError, TypeError)):
        Record.from_line(line)
