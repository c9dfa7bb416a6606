"""Rows of tables as requests."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from etalage.v1 import images_pb2 as pb
from etalage.v1 import layouts_pb2, scenes_pb2
from server.doors.columns import COLUMNS, name_column, read_row

FLAT = {
    "request_id": "r-1",
    "user_id": "someone",
    "product_id": "chair",
    "mode": "create",
    "locale": "pt-BR",
    "num_images": 3,
    "seed": 2**64 - 3,
    "steps": 12,
    "product_scale": 1.5,
    "strength": 0.25,
    "format": "webp",
    "quality": 80,
    "longest_side": 640,
    "aspect_ratio": 1.5,
    "deadline_policy": "degrade",
    "arm": "generic",
    "experiment_key": "faces",
    "session_id": "visit",
    "sampler": "dpmpp_2m",
    "model": "fast",
    "sigmas": "karras",
    "reuse_predictions": True,
    "style": "noir",
    "scene_palette": "mint",
    "scene_setting": "outdoor",
    "scene_season": "winter",
    "scene_brief": "a picnic",
    "scene_avoided_palettes": ["sky", "sand"],
    "scene_avoided_settings": ["night"],
    "scene_avoided": "flags",
    "diversity": 0.5,
    "localization_market": "BR",
    "localization_day": date(2026, 12, 24),
    "localization_occasion": True,
    "caption_title": True,
    "caption_title_text": "Sit",
    "caption_price": "12.50 EUR",
    "caption_former_price": "20 EUR",
    "caption_badge": "-20 %",
    "caption_label": True,
    "placement": "story",
    "brand_kit": "acme",
    "max_tries": 2,
    "explain": True,
    "cache_policy": "refresh",
}

NESTED = {
    "requestId": "r-1",
    "userId": "someone",
    "productId": "chair",
    "mode": "MODE_CREATE",
    "locale": "pt-BR",
    "numImages": 3,
    "seed": str(2**64 - 3),
    "steps": 12,
    "guidance": {"productScale": 1.5, "strength": 0.25},
    "output": {
        "format": "IMAGE_FORMAT_WEBP",
        "quality": 80,
        "longestSide": 640,
        "aspectRatio": 1.5,
    },
    "deadlinePolicy": "DEADLINE_POLICY_DEGRADE",
    "experiment": {"arm": "generic", "experiment": "faces"},
    "session_id": "visit",
    "sampler": "SAMPLER_DPMPP_2M",
    "model": "fast",
    "sigmas": "SIGMAS_KARRAS",
    "reusePredictions": True,
    "style": "noir",
    "scene": {
        "palette": "PALETTE_MINT",
        "setting": "SETTING_OUTDOOR",
        "season": "SEASON_WINTER",
        "brief": "a picnic",
        "avoidedPalettes": ["PALETTE_SKY", "PALETTE_SAND"],
        "avoidedSettings": ["SETTING_NIGHT"],
        "avoided": "flags",
    },
    "diversity": 0.5,
    "localization": {"market": "BR", "time": "2026-12-24T00:00:00Z", "occasion": True},
    "caption": {
        "title": True,
        "titleText": "Sit",
        "price": {"currencyCode": "EUR", "units": "12", "nanos": 500_000_000},
        "formerPrice": {"currencyCode": "EUR", "units": "20"},
        "badge": "-20 %",
        "label": True,
    },
    "placement": "PLACEMENT_STORY",
    "brandKit": "acme",
    "maxTries": 2,
    "explain": True,
    "cachePolicy": "CACHE_POLICY_REFRESH",
}


def problems(**cells):
    return [(each.field, each.description) for each in read_row(cells).violations]


def request(**cells):
    row = read_row(cells)
    assert not row.violations
    return row.request


def test_every_field_is_a_column_and_flat_says_what_nested_says():
    said = {"title", "packshot", "attributes", "control_map", "mask", "layout"}
    assert set(COLUMNS) == set(FLAT) | said
    assert request(**FLAT) == request(**NESTED)
    unset = {field.name for field in pb.GenerateImageRequest.DESCRIPTOR.fields} - {
        field.name for field, _ in request(**FLAT).ListFields()
    }
    assert unset == {"inline_product", "layout"}


def test_a_row_of_csv_says_the_same_in_text():
    told = {name: str(cell) for name, cell in FLAT.items()}
    told |= {"scene_avoided_palettes": "sky, SAND", "scene_avoided_settings": "night"}
    assert request(**told) == request(**FLAT)


def test_empty_cells_are_unset_and_explicit_zeros_are_not():
    found = request(product_id="chair", seed=0, strength="0", steps=None, locale="", user_id=None)
    assert found.HasField("seed") and found.guidance.HasField("strength")
    assert not found.HasField("steps") and not found.guidance.HasField("product_scale")


def test_whole_numbers_may_come_as_floats_and_ids_as_numbers():
    found = request(product_id=17, steps=20.0, num_images=Decimal(2), seed="7")
    assert (found.product_id, found.steps, found.num_images, found.seed) == ("17", 20, 2, 7)


def test_a_product_may_be_brought_along_with_its_pictures_or_where_they_lie():
    row = read_row(
        {
            "title": "Ball",
            "packshot": "pictures/ball.png",
            "mask": b"\x89PNG",
            "attributes": {"colour": "red", "size": None},
        }
    )
    product = row.request.inline_product
    assert row.references == ("packshot",) and not row.violations
    assert (product.packshot, product.mask) == (b"pictures/ball.png", b"\x89PNG")
    assert dict(product.attributes) == {"colour": "red"}
    assert dict(request(title="x", attributes='{"a": "b"}').inline_product.attributes) == {"a": "b"}


def test_a_product_by_id_and_one_brought_along_exclude_each_other():
    assert problems(product_id="chair", title="Chair")[0][0] == "product"
    assert problems(productId="chair", inlineProduct={"title": "Chair"})[0][0] == "product"


def test_structs_of_parquet_have_gaps():
    found = request(scene={"palette": "PALETTE_MINT", "season": None}, caption=None)
    assert found.scene == scenes_pb2.Scene(palette=scenes_pb2.PALETTE_MINT)


def test_a_layout_is_an_object_or_a_text_of_one():
    told = {"width": 512, "elements": [{"kind": "KIND_BADGE", "text": "New"}]}
    text = '{"width": 512, "elements": [{"kind": "KIND_BADGE", "text": "New"}]}'
    layout = request(layout=told).layout
    assert layout == request(layout=text).layout and layout.elements[0].text == "New"


@pytest.mark.parametrize(
    ("text", "units", "nanos"),
    [("0 JPY", 0, 0), ("0.1 EUR", 0, 100_000_000), ("1999.999999999 USD", 1999, 999_999_999)],
)
def test_prices_are_exact(text, units, nanos):
    price = request(caption_price=text).caption.price
    assert price == layouts_pb2.Price(currency_code=text[-3:], units=units, nanos=nanos)


@pytest.mark.parametrize("cell", ["2026-12-24", date(2026, 12, 24), datetime(2026, 12, 24, 23, 59)])
def test_a_day_is_a_date_or_the_date_of_a_moment(cell):
    found = request(localization_day=cell).localization.time
    assert found.ToDatetime(UTC) == datetime(2026, 12, 24, tzinfo=UTC)


WRONG: dict[str, list[tuple[object, str]]] = {
    "steps": [("many", "'many' is no whole number"), (2.5, "2.5 is no whole number")],
    "num_images": [(True, "True is no whole number"), (-1, "-1 is out of range")],
    "seed": [(2**64, f"{2**64} is out of range"), (float("nan"), "nan is no whole number")],
    "strength": [("high", "'high' is no number"), ([1], "[1] is no number")],
    "explain": [("maybe", "'maybe' is neither true nor false"), (1, "1 is neither true nor false")],
    "locale": [(7, "7 is no text"), ("\ud800", "is no text that UTF-8 can hold")],
    "mode": [("keep", "'keep' is none of preserve, restyle, create"), (1, "1 is none of preserve")],
    "sampler": [("unspecified", "'unspecified' is none of euler, heun")],
    "scene_avoided_palettes": [("mint,tartan", "'tartan' is none of sand"), (3, "3 is no list")],
    "caption_price": [
        ("12,50 EUR", "is no price such as '12.50 EUR'"),
        ("12 euros", "is no price"),
        ("1.0000000001 EUR", "more than nine decimals"),
        (f"{10**20} EUR", "is too much"),
        ({"amount": 3}, "amount"),
    ],
    "localization_day": [
        ("Christmas", "'Christmas' is no day such as '2026-12-24'"),
        (7, "no day"),
    ],
    "attributes": [("red", "'red' is no JSON"), ({"a": 1}, "'a': 1 is no text")],
    "packshot": [(7, "is neither a picture nor where one lies")],
    "layout": [({"widht": 3}, "widht"), ("[1]", "is no object")],
    "scene": [({"palette": "tartan"}, "tartan"), ("mint", "'mint' is no JSON")],
}


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [(column, cell, said) for column, cells in WRONG.items() for cell, said in cells],
)
def test_a_cell_of_the_wrong_type_is_named(column, cell, said):
    ((field, description),) = problems(**{column: cell})
    assert field == column and said in description


def test_all_that_is_wrong_with_a_row_is_told_together():
    found = problems(product_id="chair", stpes=3, strength="high", mode="keep", numImages=1.5)
    assert [field for field, _ in found] == ["stpes", "strength", "mode", "numImages"]
    assert found[0][1] == "is no column of a request; is it 'steps'?"
    assert problems(num_images=1, numImages=2) == [("numImages", "is there twice, by two names")]


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("guidance.strength", "strength"),
        ("scene.avoided_palettes[2]", "scene_avoided_palettes[2]"),
        ("localization.time", "localization_day"),
        ("layout.elements[0].kind", "layout.elements[0].kind"),
        ("product", "product"),
    ],
)
def test_a_field_of_the_message_is_told_by_its_column(field, column):
    assert name_column(field) == column
