"""Scenes, captions and layouts, there and back, over a real socket."""

from datetime import date
from decimal import Decimal

import pytest

from etalage import (
    Box,
    Caption,
    Element,
    Fidelity,
    Influence,
    InvalidArgument,
    Layout,
    Localization,
    Price,
    Product,
    Scene,
    TextStyle,
    Try,
)
from etalage.cli_options import parse_price
from etalage.requests import build_image_request
from etalage.v1 import images_pb2 as pb
from etalage.v1 import layouts_pb2, scenes_pb2
from etalage.wishes import build_layout, build_price
from tests.clients.scripted import PIXEL, image_of, result_of, serve

LAYOUT = Layout(
    640,
    360,
    Box(16, 16, 608, 328),
    (
        Element("product", Box(40, 60, 240, 280)),
        Element(
            "former_price",
            Box(320, 200, 200, 48),
            "12,50 €",
            TextStyle("Noto Sans", 31.5, "#1c1c1e", "#ffffffcc", True, "de"),
        ),
    ),
    True,
)


def test_a_scene_says_its_words_as_enums():
    scene = Scene("mint", "outdoor", "winter", "by the sea", ["rose"], ["night"], "people")
    told = build_image_request("kite", scene=scene).scene
    assert told == scenes_pb2.Scene(
        palette=scenes_pb2.PALETTE_MINT,
        setting=scenes_pb2.SETTING_OUTDOOR,
        season=scenes_pb2.SEASON_WINTER,
        brief="by the sea",
        avoided_palettes=[scenes_pb2.PALETTE_ROSE],
        avoided_settings=[scenes_pb2.SETTING_NIGHT],
        avoided="people",
    )


def test_what_is_left_out_is_left_to_the_server():
    request = build_image_request("kite")
    for field in ("scene", "localization", "caption", "layout", "diversity", "max_tries"):
        assert not request.HasField(field)
    assert not request.placement and not request.cache_policy


def test_a_market_and_a_day_are_told_without_a_zone():
    told = build_image_request("kite", localization=Localization("BR", date(2026, 12, 24), True))
    assert told.localization.time.ToJsonString() == "2026-12-24T00:00:00Z"
    assert (told.localization.market, told.localization.occasion) == ("BR", True)


def test_a_title_is_the_products_own_or_a_text():
    own = build_image_request("kite", caption=Caption(title=True)).caption
    text = build_image_request("kite", caption=Caption(title="Fly!")).caption
    assert (own.title, own.title_text) == (True, "")
    assert (text.title, text.title_text) == (False, "Fly!")


@pytest.mark.parametrize(
    ("amount", "units", "nanos"),
    [("12.50", 12, 500_000_000), (3, 3, 0), (Decimal("0.01"), 0, 10_000_000), ("-1.5", -1, -5e8)],
)
def test_an_amount_is_told_to_the_last_billionth(amount, units, nanos):
    price = build_price(Price(amount, "EUR"))
    assert (price.units, price.nanos, price.currency_code) == (units, nanos, "EUR")


@pytest.mark.parametrize("amount", ["much", "1.0000000001", "NaN"])
def test_what_is_no_amount_is_refused_by_name(amount):
    with pytest.raises(InvalidArgument) as caught:
        build_image_request("kite", caption=Caption(price=Price(amount, "EUR")))
    assert [violation.field for violation in caught.value.violations] == ["caption"]


def test_an_unknown_word_is_refused_with_those_that_are_known():
    with pytest.raises(InvalidArgument, match="'teal' is none of sand, coral"):
        build_image_request("kite", scene=Scene(palette="teal"))  # type: ignore[arg-type]


def test_a_layout_comes_back_as_it_went(face):
    def answer(request, context):
        image = image_of()
        image.layout.CopyFrom(request.layout)
        return result_of(images=[image])

    with serve(answer) as (server, service):
        assert face.generate(server, "kite", layout=LAYOUT).image.layout == LAYOUT
    assert service.requests[0].layout == build_layout(LAYOUT)


def test_an_image_says_how_true_it_is_to_its_product(face):
    image = image_of()
    told = pb.Fidelity(
        max_difference=0, growth_percent=1.5, sharpness=9, mask_source=pb.MASK_SOURCE_PLAIN_GROUND
    )
    image.fidelity.CopyFrom(told)
    image.look.extend(["mint", "outdoor"])
    tries = [pb.Try(seed=3, reasons=["blank"])]
    reply = result_of(images=[image, image_of()], tries=tries, title_language="pt")
    with serve(lambda *_: reply) as (server, _):
        result = face.generate(server, "kite")
    assert result.image.fidelity == Fidelity(0, 1.5, 0.0, 9.0, "plain_ground")
    assert result.image.look == ("mint", "outdoor") and not result.image.is_original
    assert result.images[1].fidelity is None and result.image.layout is None
    assert result.tries == (Try(3, ("blank",)),) and result.title_language == "pt"


def test_an_older_server_does_not_say_what_told_the_mask(face):
    image = image_of()
    image.fidelity.CopyFrom(pb.Fidelity(mask_uncertainty=0.5))
    with serve(lambda *_: result_of(images=[image])) as (server, _):
        fidelity = face.generate(server, "kite").image.fidelity
    assert (fidelity.mask_uncertainty, fidelity.mask_source) == (0.5, "")


def test_an_explanation_says_which_input_moved_how_much(face):
    reply = pb.ExplainImageResponse(
        explanation=pb.Explanation(
            influences=[pb.Influence(input="click 1", description="mint", share=-0.5, change=2)],
            text="Because.",
            sigma=4,
            shopper_effect=3,
            shopper_map=pb.Image(data=PIXEL),
        ),
        personalization=pb.Personalization(reason=pb.Personalization.REASON_APPLIED, applied=True),
        arm="personalized",
    )
    with serve(lambda *_: reply) as (server, service):
        answer = face.explain(server, "kite", map_side=64, user="u1")
    assert answer.explanation.influences == (Influence("click 1", "mint", -0.5, 2.0),)
    assert (answer.explanation.text, answer.explanation.shopper_map) == ("Because.", PIXEL)
    assert answer.personalization.applied and answer.model is None
    request = service.requests[0]
    assert (request.image.user_id, request.map_side) == ("u1", 64)


def test_a_product_to_be_created_needs_no_picture():
    request = build_image_request(Product("A red kite"), mode="create")
    assert request.inline_product.packshot == b"" and request.mode == pb.MODE_CREATE


@pytest.mark.parametrize("text", ["12.50EUR", "EUR 12.50", "eur12.50"])
def test_a_price_may_be_typed_either_way_round(text):
    assert build_price(parse_price(text)) == layouts_pb2.Price(
        currency_code="EUR", units=12, nanos=500_000_000
    )
