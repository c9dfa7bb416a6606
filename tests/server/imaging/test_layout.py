"""Where words go, in every placement and script."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from server.creative import Box, Caption, Kind, Placement, Price
from server.imaging.layout import arrange, mirror
from server.imaging.painting import find_ink, paint, set_element
from server.imaging.placements import PRESETS
from server.localization.titles import Title
from tests.server.imaging.captioned import (
    FROM_RIGHT,
    SIZES,
    TITLES,
    WORDS,
    arrange_caption,
    by_kind,
    contains,
    find_product,
    noise,
    occasion,
    overlaps,
    wall,
)

PLACEMENTS = [*Placement, None]


def find_letters(element):
    """The box of the ink itself."""
    block = set_element(element)
    for line, x, y in find_ink(element, block):
        left, top = x + line.left * block.size, y - line.top * block.size
        yield Box(
            left,
            top,
            (line.right - line.left) * block.size,
            (line.top - line.bottom) * block.size,
        )


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("language", TITLES)
@pytest.mark.parametrize("times", [1, 9])
@pytest.mark.parametrize("picture", [wall, noise])
def test_words_stay_in_the_safe_area_and_off_the_product(placement, language, times, picture):
    text = " ".join([TITLES[language]] * times)[:200]
    arrangement = arrange_caption(language, placement, picture(SIZES[placement]), text=text)
    layout = arrangement.layout
    product = by_kind(layout)[Kind.PRODUCT].box
    assert product == find_product(placement, language)
    words = [element for element in layout.elements if element.kind in WORDS]
    assert words
    for element in words:
        assert contains(layout.safe_area, element.box), element
        assert not overlaps(element.box, product), element
        assert all(contains(element.box, ink) for ink in find_letters(element)), element
        assert element.style.size >= 10
    for one, other in combinations(words, 2):
        assert not overlaps(one.box, other.box), (one, other)


@pytest.mark.parametrize("placement", [p for p in PLACEMENTS if p is not Placement.THUMBNAIL])
@pytest.mark.parametrize("language", TITLES)
def test_nothing_is_left_out_of_a_caption_of_usual_length(placement, language):
    arrangement = arrange_caption(language, placement)
    assert arrangement.warnings == ()
    found = by_kind(arrangement.layout)
    assert found.keys() >= WORDS
    shown = "".join(found[Kind.TITLE].text.split())
    assert shown == "".join(TITLES[language].split())


def test_a_thumbnail_has_a_price_or_a_badge_and_no_title():
    priced = by_kind(arrange_caption(placement=Placement.THUMBNAIL).layout)
    assert priced.keys() == {Kind.PRODUCT, Kind.PRICE, Kind.FORMER_PRICE}
    badged = arrange_caption(placement=Placement.THUMBNAIL, price=None, former_price=None).layout
    assert by_kind(badged).keys() == {Kind.PRODUCT, Kind.BADGE}


def test_what_a_thumbnail_has_no_room_for_is_told():
    left_out = "the {} is left out: the placement has no room for it".format
    told = arrange_caption(placement=Placement.THUMBNAIL).warnings
    assert told == (left_out("badge"), left_out("title"))
    named = arrange_caption(placement=Placement.THUMBNAIL, title=False, title_text="Bag", badge="")
    assert named.warnings == (left_out("title"),)
    badged = arrange_caption(
        placement=Placement.THUMBNAIL, title=False, price=None, former_price=None
    )
    assert badged.warnings == ()


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_scripts_from_the_right_are_mirrored(placement):
    """The same words in a layout for Arabic stand where those for English do in a mirror."""
    width = SIZES[placement][0]
    text = "Bag"
    plain = arrange_caption("en", placement, text=text).layout
    title = Title(text, "en")
    product = mirror(find_product(placement), width)
    told = Caption(True, "", None, None, "-20 %")
    plain = arrange(
        wall(SIZES[placement]),
        told,
        title,
        occasion("en"),
        placement,
        None,
        find_product(placement),
    ).layout
    to_right = replace(occasion("en"), is_right_to_left=True)
    turned = arrange(wall(SIZES[placement]), told, title, to_right, placement, None, product).layout
    assert turned.is_mirrored and not plain.is_mirrored
    assert len(turned.elements) == len(plain.elements)
    for one, other in zip(plain.elements, turned.elements, strict=True):
        assert other.kind is one.kind and other.text == one.text
        expected = mirror(one.box, width)
        assert vars_of(other.box) == pytest.approx(vars_of(expected))
        if one.style and other.style:
            assert not one.style.is_right_to_left and other.style.is_right_to_left
    assert vars_of(turned.safe_area) == pytest.approx(vars_of(mirror(plain.safe_area, width)))


def vars_of(box):
    return box.left, box.top, box.width, box.height


@pytest.mark.parametrize("language", TITLES)
def test_lines_begin_at_the_margin(language):
    layout = arrange_caption(language).layout
    safe, title = layout.safe_area, by_kind(layout)[Kind.TITLE]
    if language in FROM_RIGHT:
        assert title.box.right == pytest.approx(safe.right)
    else:
        assert title.box.left == pytest.approx(safe.left)


def test_a_banner_has_its_words_beside_the_product():
    found = by_kind(arrange_caption(placement=Placement.BANNER).layout)
    assert found[Kind.TITLE].box.right < found[Kind.PRODUCT].box.left
    found = by_kind(arrange_caption("ar", Placement.BANNER).layout)
    assert found[Kind.TITLE].box.left > found[Kind.PRODUCT].box.right


def test_a_story_leaves_room_for_the_app():
    layout = arrange_caption(placement=Placement.STORY).layout
    height = layout.height
    boxes = [element.box for element in layout.elements]
    assert min(box.top for box in boxes) >= 0.14 * height
    assert max(box.bottom for box in boxes) <= 0.8 * height


def test_both_prices_stand_on_one_baseline():
    found = by_kind(arrange_caption().layout)
    lines = [
        find_ink(found[kind], set_element(found[kind]))[0]
        for kind in (Kind.PRICE, Kind.FORMER_PRICE)
    ]
    assert lines[0][2] == pytest.approx(lines[1][2])
    assert found[Kind.PRICE].style.size > found[Kind.FORMER_PRICE].style.size


def test_an_amount_is_whole_or_missing():
    vast = Price("VND", 999_999_999_999_999)
    tight = Box(130, 60, 140, 280)
    for placement, product in ((Placement.SQUARE, tight), (Placement.THUMBNAIL, None)):
        arrangement = arrange_caption(
            "en", placement, product=product, price=vast, former_price=None
        )
        price = by_kind(arrangement.layout).get(Kind.PRICE)
        assert price is None or price.text == "₫999,999,999,999,999"
        assert price or "no room for the price" in arrangement.warnings


def test_a_product_that_fills_the_picture_leaves_no_room_and_that_is_told():
    arrangement = arrange_caption(product=Box(0, 0, 400, 400))
    assert by_kind(arrangement.layout).keys() == {Kind.PRODUCT}
    assert len(arrangement.warnings) == 4


def test_letters_that_nobody_has_are_told_and_the_rest_is_set():
    arrangement = arrange_caption(text="\u0378 bag")
    assert Kind.TITLE not in by_kind(arrangement.layout)
    assert Kind.PRICE in by_kind(arrangement.layout)
    assert any("(U+0378)" in warning for warning in arrangement.warnings)


def test_an_emoji_is_left_out_and_told():
    arrangement = arrange_caption(text="Bag 👜")
    assert by_kind(arrangement.layout)[Kind.TITLE].text == "Bag"
    assert arrangement.warnings == ("the title is set without 👜",)


def test_a_request_may_bring_its_own_title():
    found = by_kind(arrange_caption(title=False, title_text="Only today").layout)
    assert found[Kind.TITLE].text.replace("\n", " ") == "Only today"


def test_a_title_is_set_in_its_own_language_not_the_locales():
    told = Caption(title=True)
    layout = arrange(wall((400, 400)), told, Title("Bag", "en"), occasion("ar")).layout
    style = by_kind(layout)[Kind.TITLE].style
    assert style.language == "en" and style.is_right_to_left


def test_an_empty_caption_is_an_empty_layout():
    layout = arrange(wall((400, 400)), Caption(), Title("Bag", "en"), occasion("en")).layout
    assert {element.kind for element in layout.elements} == {Kind.PRODUCT}
    assert paint(wall((400, 400)), layout) is not None


def test_an_unknown_currency_is_told():
    with pytest.raises(ValueError, match="no currency 'XYZ'"):
        arrange_caption(price=Price("XYZ", 1))


@pytest.mark.parametrize("side", [32, 64, 128, 1024])
def test_sizes_grow_with_the_picture_and_stay_readable(side):
    arrangement = arrange(
        wall((side, side)), Caption(True, badge="New"), Title("Bag", "en"), occasion("en")
    )
    sizes = [e.style.size for e in arrangement.layout.elements if e.style]
    assert all(size >= 10 for size in sizes)
    assert bool(sizes) == (side > 32)
    assert bool(arrangement.warnings) == (side <= 64)


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_preset_keeps_its_product_in_the_picture(placement, mirrored):
    preset = PRESETS[placement]
    width, height = SIZES[placement]
    assert width / height == pytest.approx(preset.aspect_ratio, rel=0.01)
    box = preset.find_product_box(width, height, mirrored)
    assert contains(Box(0, 0, width, height), box)
    assert contains(Box(0, 0, width, height), preset.find_safe_area(width, height, mirrored))


def test_the_same_picture_has_the_same_layout():
    picture = noise(SIZES[Placement.SQUARE], seed=3)
    first, second = (arrange_caption("ja", pixels=picture.copy()) for _ in range(2))
    assert first == second
    assert np.array_equal(paint(picture, first.layout), paint(picture, second.layout))
