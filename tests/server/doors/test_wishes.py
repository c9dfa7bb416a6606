"""Every wrong field of what a creative should look like, by its path."""

from typing import Any

import pytest

from etalage.v1 import images_pb2 as pb
from etalage.v1 import layouts_pb2 as layouts
from etalage.v1 import scenes_pb2 as scenes
from server.core import CachePolicy, DeadlinePolicy, Mode
from server.doors.messages import request_from_proto, slate_from_proto
from server.doors.validation import check_explain, check_image, check_slate

Scene: Any = scenes.Scene  # some of what is asked for here is no palette
EURO = layouts.Price(currency_code="EUR", units=12)


def wrong_fields(**fields):
    request = pb.GenerateImageRequest(**({"product_id": "chair"} | fields))
    return [violation.field for violation in check_image(request, brand_kits=("acme",))]


def element(**fields):
    told: dict[str, Any] = {
        "kind": layouts.Layout.KIND_TITLE,
        "box": layouts.Box(width=10, height=10),
    } | fields
    return layouts.Layout.Element(**told)


def layout(*elements):
    return layouts.Layout(width=100, height=50, elements=elements)


def styled(**fields):
    style: dict[str, Any] = {"font": "Noto Sans", "size": 12, "colour": "#000000"} | fields
    return element(text="A", style=layouts.TextStyle(**style))


@pytest.mark.parametrize(
    "fields",
    [
        {"scene": Scene(palette=8, setting=8, season=4, brief="x" * 1000)},
        {"scene": Scene(avoided_palettes=range(1, 8), palette=8)},
        {"diversity": 0},
        {"diversity": 1},
        {"localization": layouts.Localization(market="BR")},
        {"localization": layouts.Localization(market="419", occasion=True)},
        {"caption": layouts.Caption(title=True, price=EURO, former_price=EURO, badge="-20 %")},
        {"placement": layouts.PLACEMENT_STORY},
        {"layout": layout(styled(background="#ffffffcc"))},
        {"brand_kit": "acme"},
        {"max_tries": 1},
        {"max_tries": 5},
        {"cache_policy": pb.CACHE_POLICY_BYPASS},
        {"mode": pb.MODE_CREATE},
    ],
)
def test_the_ends_of_each_range_are_fine(fields):
    assert wrong_fields(**fields) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scene": Scene(palette=9)}, "scene.palette"),
        ({"scene": Scene(setting=9)}, "scene.setting"),
        ({"scene": Scene(season=5)}, "scene.season"),
        ({"scene": Scene(brief="x" * 1001)}, "scene.brief"),
        ({"scene": Scene(brief=" \n")}, "scene.brief"),
        ({"scene": Scene(avoided="x" * 1001)}, "scene.avoided"),
        ({"scene": Scene(avoided_palettes=[1, 9])}, "scene.avoided_palettes[1]"),
        ({"scene": Scene(avoided_settings=[0])}, "scene.avoided_settings[0]"),
        ({"scene": Scene(avoided_palettes=range(1, 9))}, "scene.avoided_palettes"),
        ({"scene": Scene(setting=2, avoided_settings=[2])}, "scene.avoided_settings"),
        ({"diversity": 1.1}, "diversity"),
        ({"diversity": float("nan")}, "diversity"),
        ({"localization": layouts.Localization(market="Brazil")}, "localization.market"),
        ({"caption": layouts.Caption(title_text="x" * 201)}, "caption.title_text"),
        ({"caption": layouts.Caption(badge="x" * 41)}, "caption.badge"),
        (
            {"caption": layouts.Caption(price=layouts.Price(currency_code="euro"))},
            "caption.price.currency_code",
        ),
        (
            {"caption": layouts.Caption(price=layouts.Price(currency_code="EUR", units=-1))},
            "caption.price.units",
        ),
        (
            {"caption": layouts.Caption(price=layouts.Price(currency_code="EUR", nanos=-1))},
            "caption.price.nanos",
        ),
        ({"caption": layouts.Caption(former_price=EURO)}, "caption.former_price"),
        (
            {
                "caption": layouts.Caption(
                    price=EURO, former_price=layouts.Price(currency_code="USD")
                )
            },
            "caption.former_price.currency_code",
        ),
        ({"placement": 5}, "placement"),
        (
            {"placement": 1, "output": pb.OutputSpec(aspect_ratio=1)},
            "output.aspect_ratio",
        ),
        ({"layout": layouts.Layout(height=5)}, "layout.width"),
        ({"layout": layout(*[element()] * 33)}, "layout.elements"),
        ({"layout": layout(element(kind=0))}, "layout.elements[0].kind"),
        ({"layout": layout(element(kind=9))}, "layout.elements[0].kind"),
        (
            {"layout": layout(element(box=layouts.Box(left=95, width=10, height=1)))},
            "layout.elements[0].box",
        ),
        (
            {"layout": layout(element(box=layouts.Box(width=float("nan"), height=1)))},
            "layout.elements[0].box",
        ),
        ({"layout": layout(element(text="A"))}, "layout.elements[0].style"),
        ({"layout": layout(styled(size=0))}, "layout.elements[0].style.size"),
        ({"layout": layout(styled(colour="red"))}, "layout.elements[0].style.colour"),
        ({"layout": layout(styled(background="red"))}, "layout.elements[0].style.background"),
        ({"layout": layout(), "caption": layouts.Caption(title=True)}, "caption"),
        ({"brand_kit": "other"}, "brand_kit"),
        ({"max_tries": 0}, "max_tries"),
        ({"max_tries": 6}, "max_tries"),
        ({"cache_policy": 4}, "cache_policy"),
    ],
)
def test_a_wrong_field_is_named(fields, field):
    assert wrong_fields(**fields) == [field]


def test_a_product_without_a_picture_can_only_be_created():
    product = pb.InlineProduct(title="A red kite")
    told = {"product_id": None, "inline_product": product}
    assert wrong_fields(**told) == ["inline_product.packshot"]
    assert wrong_fields(**told, mode=pb.MODE_CREATE) == []


def test_wishes_of_a_slate_are_checked_in_its_template():
    slate = pb.GenerateSlateRequest(
        product_ids=["a"], template=pb.GenerateImageRequest(diversity=2)
    )
    assert [violation.field for violation in check_slate(slate)] == ["template.diversity"]


def test_an_explanation_is_of_one_image():
    message = pb.ExplainImageRequest(
        image=pb.GenerateImageRequest(product_id="a", num_images=2, diversity=2), map_side=1025
    )
    fields = [violation.field for violation in check_explain(message)]
    assert fields == ["image.diversity", "image.num_images", "map_side"]


def test_wishes_reach_the_core_as_words():
    message = pb.GenerateImageRequest(
        product_id="a",
        mode=pb.MODE_CREATE,
        scene=Scene(palette=scenes.PALETTE_MINT, avoided_settings=[scenes.SETTING_NIGHT]),
        localization=layouts.Localization(market="br"),
        cache_policy=pb.CACHE_POLICY_REFRESH,
        max_tries=3,
    )
    message.localization.time.FromJsonString("2026-12-24T23:00:00Z")
    request = request_from_proto(message, deadline_s=None)
    assert (request.mode, request.max_tries) == (Mode.CREATE, 3)
    assert request.scene.palette == "mint" and request.scene.setting == ""
    assert request.scene.avoided_settings == {"night"}
    assert request.localization.market == "BR"
    assert str(request.localization.day) == "2026-12-24"
    assert request.cache_policy is CachePolicy.REFRESH


def test_a_slate_shows_a_packshot_rather_than_a_gap_unless_it_is_strict():
    slate = pb.GenerateSlateRequest(product_ids=["a", "b"])
    requests = list(slate_from_proto(slate, deadline_s=None))
    assert {request.deadline_policy for request in requests} == {DeadlinePolicy.DEGRADE}
    assert [request.slate_rank for request in requests] == [0, 1]
    slate.template.deadline_policy = pb.DEADLINE_POLICY_STRICT
    strict = next(slate_from_proto(slate, deadline_s=None))
    assert strict.deadline_policy is DeadlinePolicy.STRICT
