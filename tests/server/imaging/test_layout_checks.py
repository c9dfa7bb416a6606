"""Layouts that requests bring."""

import math
from dataclasses import replace

import pytest

from server.creative import Box, Element, Kind, Layout, TextStyle
from server.imaging.layout_checks import MAX_ELEMENTS, check_layout
from tests.server.imaging.captioned import TITLES, arrange_caption

SIZE = (400, 400)
STYLE = TextStyle("Noto Sans Bold", 20.0, "#112233", "#ffffffcc", False, "en")
TITLE = Element(Kind.TITLE, Box(20, 20, 200, 40), "Bag", STYLE)
PRODUCT = Element(Kind.PRODUCT, Box(100, 100, 200, 200))
PLAIN = Layout(400, 400, Box(20, 20, 360, 360), (TITLE,))


def check(layout, size=SIZE):
    return [(violation.field, violation.description) for violation in check_layout(layout, size)]


def with_element(**changes):
    return replace(PLAIN, elements=(replace(TITLE, **changes),))


def with_style(**changes):
    return with_element(style=replace(STYLE, **changes))


@pytest.mark.parametrize("language", TITLES)
def test_our_own_layouts_are_right(language):
    assert check(arrange_caption(language).layout) == []
    assert check(PLAIN) == []


@pytest.mark.parametrize(
    ("layout", "field", "reason"),
    [
        (replace(PLAIN, width=300), "layout", "300 x 400"),
        (replace(PLAIN, safe_area=Box(0, 0, 500, 5)), "layout.safe_area", "out of the picture"),
        (replace(PLAIN, elements=(TITLE,) * 33), "layout.elements", f"of at most {MAX_ELEMENTS}"),
        (with_element(box=Box(-5, 0, 9, 9)), "layout.elements[0].box", "out of the picture"),
        (with_element(box=Box(390, 0, 20, 9)), "layout.elements[0].box", "out of the picture"),
        (with_element(box=Box(math.nan, 0, 9, 9)), "layout.elements[0].box", "not finite"),
        (with_element(box=Box(0, 0, math.inf, 9)), "layout.elements[0].box", "not finite"),
        (with_element(box=Box(50, 50, -9, 9)), "layout.elements[0].box", "negative"),
        (replace(PLAIN, elements=(PRODUCT, PRODUCT)), "layout.elements[1].kind", "second product"),
        (
            replace(PLAIN, elements=(replace(PRODUCT, box=Box(9, 9, 0.5, 40)),)),
            "layout.elements[0].box",
            "no room for the product",
        ),
        (with_element(text=""), "layout.elements[0].text", "empty"),
        (with_element(text="x" * 401), "layout.elements[0].text", "401 characters"),
        (with_element(text="\n".join("x" * 13)), "layout.elements[0].text", "13 lines"),
        (with_element(text="\u0378"), "layout.elements[0].text", "no font has"),
        (with_element(text="wide " * 20), "layout.elements[0].text", "out of the picture"),
        (with_element(style=None), "layout.elements[0].style", "missing"),
        (with_element(kind=Kind.PRODUCT), "layout.elements[0].text", "neither text nor style"),
        (
            replace(PLAIN, elements=(Element(Kind.LOGO, Box(0, 0, 9, 9)),)),
            "layout.elements[0].kind",
            "no brand kit",
        ),
        (with_style(size=0.0), "layout.elements[0].style.size", "4 to 400"),
        (with_style(size=math.nan), "layout.elements[0].style.size", "4 to 400"),
        (with_style(size=1e9), "layout.elements[0].style.size", "4 to 400"),
        (with_style(colour="red"), "layout.elements[0].style.colour", "no colour"),
        (with_style(colour=""), "layout.elements[0].style.colour", "no colour"),
        (with_style(background="#12345"), "layout.elements[0].style.background", "no colour"),
        (with_style(font="x" * 129), "layout.elements[0].style.font", "longer than"),
        (with_style(language="en us!"), "layout.elements[0].style.language", "BCP 47"),
    ],
)
def test_what_is_wrong_is_named(layout, field, reason):
    found = check(layout)
    assert len(found) == 1, found
    assert found[0][0] == field and reason in found[0][1]


def test_no_letter_escapes_into_the_drawing():
    """A colour or a text is never taken for markup."""
    assert check(with_style(colour='#112233"/><rect')) != []
    assert check(with_element(text='</svg><rect width="9">')) == []
