"""Rows as tasks: checked by the rules of the other doors, opened when it is their turn."""

import pickle
from datetime import date

import fsspec
import pytest

from server.bulk.plan import Problems, RequestsInvalid
from server.core import CachePolicy, ImageFormat, InlineProduct, Mode
from server.doors.request_file import RequestFile, explain
from server.errors import InvalidRequest, ProductNotFound, Violation
from tests.features.pictures import draw_picture, save_pictures, to_png, write_jsonl
from tests.server.bulk.clouds import CLOUD

DAY = date(2026, 12, 1)


@pytest.fixture
def read(tmp_path):
    def read(*rows, problems=None):
        write_jsonl(tmp_path / "r.jsonl", *rows)
        return list(RequestFile(str(tmp_path / "r.jsonl"), DAY).read(problems or Problems()))

    return read


def test_a_row_is_the_request_that_the_other_doors_would_make_of_it(read):
    row, second = read(
        {"product_id": "chair", "user_id": "someone", "strength": 0.0, "format": "jpeg"},
        {"request_id": "two", "productId": "chair", "mode": "MODE_RESTYLE"},
    )
    request = row.open()
    assert (request.product, request.user_id, request.strength) == ("chair", "someone", 0.0)
    assert request.output.format is ImageFormat.JPEG and request.deadline_s is None
    assert (row.name, row.number, request.request_id) == ("1", 1, "1")
    assert (second.name, second.number, second.open().mode) == ("two", 2, Mode.RESTYLE)


def test_the_digest_is_of_the_content_whatever_it_is_called_and_however_it_is_told(read):
    first, second, third, other = read(
        {"product_id": "chair", "steps": 4},
        {"request_id": "x", "steps": 4.0, "productId": "chair"},
        {"request_id": "y", "product_id": "chair", "steps": 4, "mode": None},
        {"product_id": "chair", "steps": 5},
    )
    assert first.digest == second.digest == third.digest != other.digest


def test_no_earlier_image_answers_unless_it_is_asked_for(read):
    plain, told = read({"product_id": "a"}, {"product_id": "a", "cache_policy": "use"})
    assert plain.open().cache_policy is CachePolicy.BYPASS
    assert told.open().cache_policy is CachePolicy.USE


def test_a_row_that_goes_by_the_season_has_the_day_of_the_run_unless_it_names_one(read):
    plain, told, none = read(
        {"product_id": "a", "localization_occasion": True},
        {"product_id": "a", "localization_occasion": True, "localization_day": "2027-01-02"},
        {"product_id": "a"},
    )
    assert plain.open().localization.day == DAY
    assert told.open().localization.day == date(2027, 1, 2)
    assert none.open().localization.day is None


def test_pictures_lie_beside_the_file_or_wherever_they_are_said_to(tmp_path, read):
    save_pictures(tmp_path / "pictures", "ball.png", "away.png")
    data = to_png(draw_picture())
    with fsspec.open("memory://pictures/ball.png", "wb") as file:
        file.write(data)
    rows = read(
        {"title": "Ball", "packshot": "pictures/ball.png"},
        {"title": "Ball", "packshot": str(tmp_path / "pictures" / "away.png")},
        {"title": "Ball", "packshot": "memory://pictures/ball.png"},
    )
    found = [pickle.loads(pickle.dumps(row)).open().product for row in rows]
    assert all(isinstance(product, InlineProduct) for product in found)
    assert [product.packshot for product in found] == [
        (tmp_path / "pictures" / "ball.png").read_bytes(),
        (tmp_path / "pictures" / "away.png").read_bytes(),
        data,
    ]
    assert len(rows[0].message) < 200, "a task is light until it is opened"


def test_a_file_in_another_store_has_its_pictures_there():
    with fsspec.open("memory://shop/ball.png", "wb") as file:
        file.write(to_png(draw_picture()))
    with fsspec.open("memory://shop/r.jsonl", "w") as file:
        file.write('{"title": "Ball", "packshot": "ball.png"}\n')
    (row,) = RequestFile("memory://shop/r.jsonl", DAY).read(Problems())
    product = row.open().product
    assert isinstance(product, InlineProduct) and product.packshot.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("packshot", "said"),
    [
        ("gone.png", "packshot: can't be read: No such file"),
        ("r.jsonl", "packshot: "),
        (f"{CLOUD}/ball.png", "packshot: can't be read: AccessDenied: not yours$"),
    ],
)
def test_a_picture_that_can_not_be_read_fails_that_row_alone(read, packshot, said):
    (row,) = read({"title": "Ball", "packshot": packshot})
    with pytest.raises(InvalidRequest, match=said):
        row.open()


def test_values_are_refused_by_the_rules_of_the_other_doors_by_their_columns(read):
    problems = Problems()
    rows = [
        {"product_id": "chair", "strength": 7, "steps": 0, "locale": "german"},
        {"product_id": "chair", "num_images": 9, "scene_avoided_palettes": ["mint"] * 8},
        {"steps": 3},
        {"title": "Ball"},
        {"product_id": "chair", "arm": "best"},
        {"product_id": "fine"},
        {"request_id": "x" * 129, "product_id": "chair"},
    ]
    assert [row.number for row in read(*rows, problems=problems)] == [6]
    with pytest.raises(RequestsInvalid) as caught:
        problems.raise_any()
    told = str(caught.value).splitlines()
    assert [line.rpartition(": ")[0].split(": ")[:2] for line in told][:5] == [
        ["row 1", "locale"],
        ["row 1", "steps"],
        ["row 1", "strength"],
        ["row 2", "num_images"],
        ["row 3", "product"],
    ]
    for row, column in ((4, "packshot"), (5, "arm"), (7, "request_id")):
        assert any(line.startswith(f"row {row}: {column}: ") for line in told)


def test_a_failure_says_what_a_client_would_be_told():
    found = explain(ProductNotFound("chair"))
    assert (found.code, found.reason) == ("NOT_FOUND", "PRODUCT_NOT_FOUND")
    assert explain(InvalidRequest(Violation("a", "b"))).code == "INVALID_ARGUMENT"
    secret = explain(ValueError("the password"))
    assert secret.code == "INTERNAL" and "password" not in secret.message
