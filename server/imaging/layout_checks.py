"""What is wrong with a layout that a request brings."""

from __future__ import annotations

import math
from collections.abc import Iterator

from server.brand_kits import BrandKit
from server.creative import Box, Element, Kind, Layout
from server.errors import Violation
from server.imaging.colours import read_colour
from server.imaging.painting import find_extent, find_ink, set_element
from server.imaging.text.lettering import MissingGlyphs

MAX_ELEMENTS = 32
MAX_LETTERS, MAX_LINES = 400, 12
MAX_FONT_LETTERS, MAX_TAG_LETTERS = 128, 35
SMALLEST = 4.0
WORDLESS = frozenset({Kind.PRODUCT, Kind.LOGO})
SLACK = 0.5  # pixels, of rounding in a designer's tool


def check_layout(
    layout: Layout, size: tuple[int, int], kit: BrandKit | None = None
) -> list[Violation]:
    """Violations by their path in a layout for a picture of this (width, height); none where it
    can be drawn."""
    found: list[Violation] = []
    if (layout.width, layout.height) != size:
        told = f"is for {layout.width} x {layout.height}, the image has {size[0]} x {size[1]}"
        found.append(Violation("layout", told))
    if len(layout.elements) > MAX_ELEMENTS:
        told = f"{len(layout.elements)} of at most {MAX_ELEMENTS}"
        return [*found, Violation("layout.elements", told)]
    if told := _check_box(layout.safe_area, size):
        found.append(Violation("layout.safe_area", told))
    num_products = 0
    for at, element in enumerate(layout.elements):
        path = f"layout.elements[{at}]"
        num_products += element.kind is Kind.PRODUCT
        if element.kind is Kind.PRODUCT and num_products > 1:
            found.append(Violation(f"{path}.kind", "is a second product"))
        for field, told in _check_element(element, size, kit):
            found.append(Violation(f"{path}.{field}", told))
    return found


def _check_box(box: Box, size: tuple[int, int]) -> str:
    numbers = (box.left, box.top, box.width, box.height)
    if not all(math.isfinite(number) for number in numbers):
        return "has a number that is not finite"
    if box.width < 0 or box.height < 0:
        return "has a negative side"
    if (
        min(box.left, box.top) < -SLACK
        or box.right > size[0] + SLACK
        or box.bottom > size[1] + SLACK
    ):
        return f"reaches out of the picture of {size[0]} x {size[1]}"
    return ""


def _check_element(
    element: Element, size: tuple[int, int], kit: BrandKit | None
) -> Iterator[tuple[str, str]]:
    boxed = _check_box(element.box, size)
    if boxed:
        yield "box", boxed
    if element.kind is Kind.LOGO and (kit is None or kit.logo is None):
        yield "kind", "there is no brand kit with a logo"
    if (
        element.kind is Kind.PRODUCT
        and not boxed
        and min(element.box.width, element.box.height) < 1
    ):
        yield "box", "has no room for the product"
    if element.kind in WORDLESS:
        if element.text or element.style:
            yield "text", f"a {element.kind.value} has neither text nor style"
        return
    if element.style is None:
        yield "style", "is missing"
        return
    wrong = [*_check_text(element), *_check_style(element, size)]
    yield from wrong
    if not wrong and not boxed:
        yield from _check_ink(element, size, kit)


def _check_text(element: Element) -> Iterator[tuple[str, str]]:
    if not element.text.strip():
        yield "text", "is empty"
    if len(element.text) > MAX_LETTERS:
        yield "text", f"{len(element.text)} characters of at most {MAX_LETTERS}"
    if element.text.count("\n") >= MAX_LINES:
        yield "text", f"{element.text.count(chr(10)) + 1} lines of at most {MAX_LINES}"


def _check_style(element: Element, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    style = element.style
    assert style is not None
    if not SMALLEST <= style.size <= max(size):  # false for NaN too
        yield "style.size", f"want {SMALLEST:g} to {max(size)} pixels"
    if len(style.font) > MAX_FONT_LETTERS:
        yield "style.font", f"longer than {MAX_FONT_LETTERS} characters"
    if len(style.language) > MAX_TAG_LETTERS or not style.language.replace("-", "").isalnum():
        yield "style.language", "is no BCP 47 tag"
    for field, colour in (("colour", style.colour), ("background", style.background)):
        if colour or field == "colour":
            try:
                read_colour(colour)
            except ValueError as error:
                yield f"style.{field}", str(error)


def _check_ink(
    element: Element, size: tuple[int, int], kit: BrandKit | None
) -> Iterator[tuple[str, str]]:
    """Letters that nobody has, or that would be drawn beyond the picture."""
    try:
        block = set_element(element, kit)
    except MissingGlyphs as error:
        yield "text", str(error)
        return
    for line, x, y in find_ink(element, block):
        box = find_extent(line, x, y, block.size)
        if line.glyphs and _check_box(box, size):
            yield "text", f"{line.text!r} at {block.size:g} pixels reaches out of the picture"
            return
