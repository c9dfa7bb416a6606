"""Catalogues in every form: the good rows come through, every bad one is named."""

import csv
import json
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.catalogue import Catalogue
from features.catalogue_rows import CatalogueUnreadable
from tests.features.pictures import draw_picture, save_pictures, write_jsonl

PICTURES = ("ball.png", "book.png")
BALL = {"product_id": "ball", "title": "Ball", "category": "sports", "packshot": "ball.png"}
BOOK = {"product_id": "book", "titles": {"en": "Book", "de": "Buch"}, "packshot": "book.png"}


@pytest.fixture
def folder(tmp_path):
    save_pictures(tmp_path / "shop", *PICTURES)
    return tmp_path / "shop"


def read(path):
    catalogue = Catalogue(path)
    products = {product.product_id: product for product, _ in catalogue}
    return products, [str(problem) for problem in catalogue.problems]


def check_both(products):
    assert list(products) == ["ball", "book"]
    assert products["ball"].titles == {"en": "Ball"} and products["ball"].category == "sports"
    assert products["book"].titles == {"en": "Book", "de": "Buch"}


def test_a_folder_with_jsonl_is_read_in_its_order(folder):
    write_jsonl(folder / "products.jsonl", BALL, "", BOOK)
    products, problems = read(folder)
    check_both(products)
    assert problems == [] and products["ball"].packshot == str(folder / "ball.png")


def test_parquet_may_hold_titles_as_a_struct_a_map_or_json(folder):
    titles: list[dict[str, str | None]] = [{"en": "Ball", "de": None}, {"en": "Book", "de": "Buch"}]
    maps = [[(k, v) for k, v in row.items()] for row in titles]
    texts = [json.dumps({k: v for k, v in row.items() if v}) for row in titles]
    map_type = pa.map_(pa.string(), pa.string())
    for column in (pa.array(titles), pa.array(maps, map_type), pa.array(texts)):
        columns = {
            "product_id": ["ball", "book"],
            "titles": column,
            "category": ["sports", None],
            "packshot": ["ball.png", "book.png"],
        }
        pq.write_table(pa.table(columns), folder / "products.parquet")
        products, problems = read(folder / "products.parquet")
        check_both(products)
        assert problems == []


def test_csv_has_a_column_for_each_language(folder):
    with (folder / "catalogue.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "title", "title_de", "category", "image"])
        writer.writerow(["ball", "Ball", "", "sports", "ball.png"])
        writer.writerow(["book", "Book", "Buch", "", "book.png"])
    products, problems = read(folder)
    check_both(products)
    assert problems == []


def test_coco_gives_captions_as_titles_and_masks_as_alpha(folder):
    draw_picture(alpha=False).save(folder / "ball.jpg")
    image = {"id": 7, "file_name": "ball.jpg", "height": 64, "width": 64}
    shape = {"image_id": 7, "category_id": 3, "segmentation": [[8, 8, 40, 8, 40, 40, 8, 40]]}
    captions = {"images": [image], "annotations": [{"image_id": 7, "caption": " A red ball "}]}
    instances = {
        "images": [image],
        "annotations": [shape],
        "categories": [{"id": 3, "name": "toys"}],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations" / "captions.json").write_text(json.dumps(captions))
    (folder / "annotations" / "instances.json").write_text(json.dumps(instances))
    catalogue = Catalogue(folder)
    [(product, pixels)] = catalogue
    assert catalogue.problems == []
    assert (product.product_id, product.titles) == ("7", {"en": "A red ball"})
    assert product.category == "toys" and product.is_masked
    assert pixels[20, 20, 3] == 255 and pixels[50, 50, 3] == 0


def problem_of(folder, row):
    write_jsonl(folder / "products.jsonl", BOOK, row)
    products, problems = read(folder)
    assert list(products) == ["book"] and len(problems) == 1
    return problems[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"packshot": None}, "has no image"),
        ({"packshot": ""}, "has no image"),
        ({"packshot": "gone.png"}, "no image at .*gone.png"),
        ({"packshot": "broken.png"}, "the image does not decode"),
        ({"title": "  "}, "has an empty title for 'en'"),
        ({"title": None}, "has an empty title for 'en'"),
        ({"titles": {"en": "Ball", "fr": ""}}, "has an empty title for 'fr'"),
        ({"titles": {"en": 5}}, "has an empty title"),
        ({"titles": "Ball"}, "titles that are no JSON object"),
        ({"titles": ["Ball"]}, "titles that are no JSON object"),
        ({"timestamp": "yesterday"}, "wrong timestamp: 'yesterday'"),
        ({"timestamp": "2999-01-01T00:00:00Z"}, "wrong timestamp: 2999"),
        ({"timestamp": 0}, "wrong timestamp: 1970"),
        ({"timestamp": 1e30}, "wrong timestamp"),
        ({"timestamp": True}, "wrong timestamp"),
        ({"segmentation": [[[1, 1, 2, 2, 3, 1]]]}, "the image has no height and width"),
        ({"segmentation": [[[1, 1]]], "size": [64, 64]}, "a segmentation that is none"),
        ({"segmentation": [[[1, 1, 2, 2, 3, 1]]], "size": [10**6, 10**6]}, "segmentation on"),
        ({"product_id": "x" * 300}, "product_id of more than 256"),
    ],
)
def test_each_bad_row_is_named_and_the_good_one_comes_through(folder, change, told):
    (folder / "broken.png").write_bytes(b"\x89PNG but not really")
    import re

    problem = problem_of(folder, BALL | change)
    assert problem.startswith("products.jsonl line 2 (") and re.search(told, problem)


def test_a_second_product_of_one_id_is_named_with_the_first_one_s_place(folder):
    problem = problem_of(folder, BALL | {"product_id": "book"})
    assert problem == "products.jsonl line 2 (book): has the id of products.jsonl line 1"


def test_rows_without_id_or_form_are_named(folder):
    write_jsonl(folder / "products.jsonl", {"title": "?"}, "{broken", "[1]", BALL)
    products, problems = read(folder)
    assert list(products) == ["ball"]
    assert problems == [
        "products.jsonl line 1: has no product_id",
        "products.jsonl line 2: is no JSON",
        "products.jsonl line 3: is no JSON object",
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        (1767323045, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045.0", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_timestamps_are_iso_8601_or_seconds(folder, told, expected):
    write_jsonl(folder / "products.jsonl", BALL | {"timestamp": told})
    products, _ = read(folder)
    assert products["ball"].timestamp == expected


def test_a_column_of_dates_is_taken_as_their_midnights(folder):
    rows = [BALL | {"timestamp": date(2026, 1, 2)}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "products.parquet")
    assert read(folder)[0]["ball"].timestamp == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_line_that_is_nested_without_end_is_named(folder):
    write_jsonl(folder / "products.jsonl", "[" * 200_000, BALL)
    products, problems = read(folder)
    assert list(products) == ["ball"] and problems == ["products.jsonl line 1: is no JSON"]


def test_a_broken_avif_is_named_like_any_other_picture(folder):
    draw_picture(alpha=False).save(folder / "ball.avif")
    data = bytearray((folder / "ball.avif").read_bytes())
    (folder / "ball.avif").write_bytes(data[: len(data) * 3 // 4])
    assert "the image does not decode" in problem_of(folder, BALL | {"packshot": "ball.avif"})


def test_coco_images_without_id_or_with_the_id_of_another_are_named(folder):
    images = [{"id": 7, "file_name": name} for name in PICTURES] + [{"file_name": "ball.png"}]
    captions = [{"image_id": 7, "caption": "ball"}, {"image_id": 7}]
    document = {"images": images, "annotations": captions}
    (folder / "captions.json").write_text(json.dumps(document))
    (folder / "instances.json").write_text(json.dumps(document | {"images": images[:1]}))
    products, problems = read(folder)
    assert list(products) == ["7"] and products["7"].packshot == str(folder / "ball.png")
    assert problems == [
        "captions.json image 7 (7): has the id of captions.json image 7",
        "captions.json image number 3: has no product_id",
    ]


def test_a_clock_a_little_ahead_is_forgiven(folder):
    soon = datetime.now(UTC) + timedelta(minutes=1)
    write_jsonl(folder / "products.jsonl", BALL | {"timestamp": soon.isoformat()})
    assert read(folder)[1] == []


@pytest.mark.parametrize("name", ["products.txt", "nothing", "broken.parquet", "other.json"])
def test_what_is_no_catalogue_is_refused_as_a_whole(tmp_path, name):
    (tmp_path / "products.txt").write_text("ball")
    (tmp_path / "broken.parquet").write_bytes(b"PAR0")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(CatalogueUnreadable):
        read(tmp_path / name)


def test_an_empty_folder_says_what_it_should_hold(tmp_path):
    with pytest.raises(CatalogueUnreadable, match=r"products\.jsonl, products\.parquet"):
        Catalogue(tmp_path)


def test_the_number_of_rows_is_known_for_the_progress_bar(folder):
    write_jsonl(folder / "products.jsonl", BALL, BOOK)
    assert Catalogue(folder).estimate_rows() == 2
