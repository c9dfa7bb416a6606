"""The label that says what made a picture: in a corner that a layout leaves free, never over the
product.

As in layout.py everything is found for lines that begin at the left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from server.brand_kits import BrandKit
from server.core import Pixels
from server.creative import Box, Element, Kind, Layout
from server.imaging.captions import SHIPPED_FONTS, Words, choose_font
from server.imaging.dressing import Dresser
from server.imaging.layout import Arrangement, mirror
from server.imaging.text.fonts import BOLD
from server.imaging.text.lettering import MissingGlyphs, prepare
from server.imaging.text.typesetting import Voice
from server.imaging.zones import Scale, Setter, move
from server.localization.titles import Title

SIZES = (0.034, 0.028, 0.022)
"""Of letters, as shares of the picture's shorter side; none is smaller than can be read."""

NUM_PLACES = 24
"""That are tried across and down, where no corner is free."""

GAP = 0.012
"""To anything else, as a share of the shorter side."""


def add_label(
    layout: Layout, label: Title, pixels: Pixels, product: Box, kit: BrandKit | None = None
) -> Arrangement:
    """The layout of a picture [height, width, 3] with the label, unless it has one already. What
    keeps it from being set is warned of."""
    if any(each.kind is Kind.LABEL for each in layout.elements):
        return Arrangement(layout)
    try:
        words = write_label(label, kit)
    except MissingGlyphs as error:
        return Arrangement(layout, (f"the label is left out: {error}",))
    width, unit = layout.width, min(layout.width, layout.height)
    is_mirrored, safe = layout.is_mirrored, layout.safe_area
    if min(safe.width, safe.height) <= 0:
        safe = Box(0, 0, layout.width, layout.height)
    taken = [product, *(each.box for each in layout.elements if each.kind is not Kind.PRODUCT)]
    if is_mirrored:
        pixels, safe, taken = (
            pixels[:, ::-1],
            mirror(safe, width),
            [mirror(b, width) for b in taken],
        )
    dresser = Dresser(pixels, taken[0], kit, is_mirrored)
    if (placed := place_label(words, dresser, safe, taken, unit)) is None:
        return Arrangement(layout, ("no room for the label",))
    if is_mirrored:
        placed = replace(placed, box=mirror(placed.box, width))
    return Arrangement(replace(layout, elements=(*layout.elements, placed)))


def write_label(label: Title, kit: BrandKit | None) -> Words:
    """Raises MissingGlyphs."""
    fonts = kit.typefaces if kit else SHIPPED_FONTS
    font = choose_font(Kind.LABEL, label.language, kit)
    lettering = prepare(label.text, label.language, fonts, font)
    if lettering.left_out or not lettering.text:
        raise MissingGlyphs(lettering.left_out or label.text)
    text, language = lettering.text, label.language
    light, strong = (
        Voice(fonts, each, language) for each in (font, SHIPPED_FONTS.name(language, BOLD))
    )
    # Some scripts have no light letters: two weights in one short line would look like a mistake.
    is_mixed = len({glyph.font for glyph in light.shape(text).glyphs}) > 1
    return Words(Kind.LABEL, text, strong if is_mixed else light)


def place_label(
    words: Words, dresser: Dresser, safe: Box, taken: Sequence[Box], unit: float
) -> Element | None:
    """The label in the safe area, apart from what is `taken`; None where it has no room. `unit` is
    the picture's shorter side."""
    for size in SIZES:
        setter = Setter({Kind.LABEL: words}, {Kind.LABEL: Scale(size, size)}, unit, 0.0)
        for placed in setter.set_row([Kind.LABEL], safe.width, safe.height, is_plated=True):
            for left, top in _list_places(safe, placed.box):
                moved = move(placed, left - placed.box.left, top - placed.box.top)
                if not any(_meet(moved.box, box, GAP * unit) for box in taken):
                    return dresser.dress_label(moved)
    return None


def _list_places(safe: Box, box: Box) -> Iterator[tuple[float, float]]:
    """From below to above, and at each height the corners first: where lines end before where they
    begin."""
    lefts = [float(x) for x in np.linspace(safe.right - box.width, safe.left, NUM_PLACES)]
    lefts = [lefts[0], lefts[-1], *lefts[1:-1]]
    for top in np.linspace(safe.bottom - box.height, safe.top, NUM_PLACES):
        yield from ((left, float(top)) for left in lefts)


def _meet(one: Box, other: Box, gap: float) -> bool:
    is_level = one.top < other.bottom + gap and other.top < one.bottom + gap
    return is_level and one.left < other.right + gap and other.left < one.right + gap
