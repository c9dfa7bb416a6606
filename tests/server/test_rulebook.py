"""What market, brand and shop say of a request, read as a server reads it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from diffusion.choices import narrow
from diffusion.looks import ANYWHERE, SceneWish
from server.commands.creatives import read_rules
from server.configuration import CreativesSlice
from server.core import QUALITY, ImageRequest, InlineProduct
from server.creative import Box, Caption, Element, Kind, Layout, Localization, Price
from server.errors import InvalidRequest
from tests.server.opening import open_pipeline
from tests.server.registry import hold
from tests.server.scripted_reader import ask as ask_small

BOX = Box(0, 0, 64, 64)
KIT = """
name: aurora
palettes: {banned: [mint]}
denied_words: [knock-off, blue]
"""


@pytest.fixture(scope="module")
def rules():
    return read_rules(CreativesSlice())


@pytest.fixture
def kit_rules(tmp_path):
    (tmp_path / "aurora.yaml").write_text(KIT)
    return read_rules(CreativesSlice(brand_kits=tmp_path))


def ask(**fields: Any) -> ImageRequest:
    told: dict[str, Any] = {"product": "shoe"}
    return ImageRequest(**(told | fields))


def lay_out(kind: Kind, text: str) -> Layout:
    return Layout(64, 64, BOX, (Element(Kind.PRODUCT, BOX), Element(kind, BOX, text)))


def say(field: str, text: str) -> ImageRequest:
    """A request that says a text in one of its fields."""
    return {
        "scene.brief": ask(scene=SceneWish(brief=text)),
        "caption.title_text": ask(caption=Caption(title_text=text)),
        "caption.badge": ask(caption=Caption(badge=text)),
        "inline_product.title": ask(product=InlineProduct(text, b"", {})),
        "inline_product.attributes": ask(product=InlineProduct("shoe", b"", {"style": text})),
        "layout.elements[1].text": ask(layout=lay_out(Kind.BADGE, text)),
    }[field]


def find_refusals(rules, request):
    with pytest.raises(InvalidRequest) as caught:
        rules.agree(request)
    reason = caught.value.reason
    return reason, [(each.field, each.description) for each in caught.value.violations]


FIELDS = (
    "scene.brief",
    "caption.title_text",
    "caption.badge",
    "inline_product.title",
    "inline_product.attributes",
    "layout.elements[1].text",
)


@pytest.mark.parametrize("field", FIELDS)
def test_denied_words_are_refused_in_every_field_that_gets_into_a_picture(rules, field):
    rules.agree(say(field, "a quiet morning"))
    found = find_refusals(rules, say(field, "a n4zi morning"))
    assert found == ("PROMPT_DENIED", [(field, "has words that are denied: hate")])


@pytest.mark.parametrize("field", FIELDS)
def test_what_a_kit_denies_is_refused_for_its_requests_alone(kit_rules, field):
    request = say(field, "no Knock-Off")
    kit_rules.agree(request)
    found = find_refusals(kit_rules, replace(request, brand_kit="aurora"))
    told = "has words that are denied: brand kit aurora"
    assert found == ("PROMPT_DENIED", [(field, told)])


def test_all_that_is_denied_is_told_at_once(rules):
    caption = Caption(title_text="gore", badge="cocaine")
    _, found = find_refusals(rules, ask(scene=SceneWish(brief="gory nazi"), caption=caption))
    assert found == [
        ("scene.brief", "has words that are denied: hate, violence"),
        ("caption.title_text", "has words that are denied: violence"),
        ("caption.badge", "has words that are denied: drugs"),
    ]


def test_what_must_not_be_seen_may_be_named_as_such(rules):
    rules.agree(ask(scene=SceneWish(avoided="blood splatter, coca cola")))


@pytest.mark.parametrize("field", ["scene.brief", "caption.badge", "layout.elements[1].text"])
def test_a_brand_is_not_put_beside_a_product(rules, field):
    found = find_refusals(rules, say(field, "with a can of Coca-Cola"))
    assert found == ("PROMPT_DENIED", [(field, "has words that are denied: brands")])


def test_a_product_may_be_called_by_its_brand(rules):
    for field in ("caption.title_text", "inline_product.title", "inline_product.attributes"):
        rules.agree(say(field, "Nike running shoe"))
    rules.agree(ask(layout=lay_out(Kind.TITLE, "Nike running shoe")))
    rules.check_title("Nike running shoe", rules.agree(ask()))


def test_a_title_of_the_catalogue_is_checked_once_it_is_known(kit_rules):
    agreed = kit_rules.agree(ask(brand_kit="aurora"))
    for title, told in (("a Nazi shoe", "hate"), ("knock-off", "brand kit aurora")):
        with pytest.raises(InvalidRequest, match=f"its title has words that are denied: {told}"):
            kit_rules.check_title(title, agreed)
    kit_rules.check_title("a shoe", agreed)


def test_a_file_of_the_shops_own_decides(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("rivals:\n  words: [acme]\n")
    rules = read_rules(CreativesSlice(denied_words=path))
    rules.agree(say("scene.brief", "a nazi morning"))
    assert find_refusals(rules, say("scene.brief", "like Acme"))[1][0][1].endswith("rivals")


async def test_no_picture_is_made_of_a_title_that_is_denied(reader, models, engine, tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("luggage:\n  words: [backpack]\n")
    encoders = models[QUALITY].encoders
    with ThreadPoolExecutor(2) as workers:
        strict = open_pipeline(
            reader, hold(models), encoders, engine, workers, creatives={"denied_words": path}
        )
        with pytest.raises(InvalidRequest, match="product_id") as caught:
            await strict.generate(ask_small())
        assert caught.value.reason == "PROMPT_DENIED"


def test_what_a_kit_denies_is_no_wish_of_who_asks(kit_rules):
    """Or every request would be told that the model does not read it, and blue be ruled out."""
    scene = kit_rules.agree(ask(brand_kit="aurora")).request.scene
    assert scene.kept_out == ("knock-off", "blue")
    assert narrow(scene) == narrow(replace(ANYWHERE, avoided_palettes=frozenset({"mint"})))


@pytest.mark.parametrize("locale", ["de", "ar", "ko", "ja"])
def test_what_a_market_keeps_out_is_no_wish_of_who_asks(rules, locale):
    agreed = rules.agree(ask(locale=locale))
    assert agreed.request.scene.kept_out
    assert narrow(agreed.request.scene).warnings == () == agreed.warnings


def test_a_banned_palette_is_refused_and_its_kit_named(kit_rules):
    reason, found = find_refusals(
        kit_rules, ask(scene=SceneWish(palette="mint"), brand_kit="aurora")
    )
    assert reason == "KIT_FORBIDS"
    assert found == [("scene", "the brand kit aurora bans the palette mint")]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"brand_kit": "none"}, "brand_kit"),
        ({"localization": Localization("XX")}, "localization.market"),
        ({"caption": Caption(price=Price("XXQ", 5))}, "caption.price"),
        (
            {"caption": Caption(price=Price("EUR", 5), former_price=Price("XXQ", 6))},
            "caption.former_price",
        ),
    ],
)
def test_what_nothing_is_known_of_is_named(rules, fields, field):
    assert [each for each, _ in find_refusals(rules, ask(**fields))[1]] == [field]


def test_what_is_denied_is_counted_by_category():
    counted: list[str] = []

    class Tally:
        def denied(self, category):
            counted.append(category)

    rules = read_rules(CreativesSlice(), observer=Tally())
    find_refusals(rules, ask(scene=SceneWish(brief="a nazi"), caption=Caption(badge="cocaine")))
    assert counted == ["hate", "drugs"]
