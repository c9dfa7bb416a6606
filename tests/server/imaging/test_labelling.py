"""The label stands in the safe area, beside the product and all words, in every script."""

import numpy as np
import pytest

from server.creative import Box, Kind, Layout, Placement
from server.imaging.labelling import add_label
from server.imaging.layout_checks import check_layout
from server.imaging.painting import paint
from server.localization.labels import Labels
from server.localization.titles import Title
from tests.server.imaging.captioned import (
    SIZES,
    TITLES,
    arrange_caption,
    by_kind,
    contains,
    find_product,
    noise,
    overlaps,
    wall,
)

LABELS = Labels.read()


@pytest.mark.parametrize("placement", list(SIZES))
@pytest.mark.parametrize("language", [*TITLES, "bn", "el"])
def test_the_label_is_beside_everything_else_and_in_the_safe_area(language, placement):
    pixels = noise(SIZES[placement])
    product = find_product(placement, language)
    written = language if language in TITLES else "en"
    layout = arrange_caption(written, placement, pixels).layout
    arrangement = add_label(layout, LABELS.find(language), pixels, product)
    assert arrangement.warnings == ()
    label = arrangement.layout.elements[-1]
    assert label.kind is Kind.LABEL and label.text == LABELS.find(language).text
    assert label.style is not None and label.style.background, "on a plate"
    assert contains(layout.safe_area, label.box) and not overlaps(label.box, product)
    assert not any(overlaps(label.box, each.box) for each in layout.elements[1:])
    assert arrangement.layout.elements[:-1] == layout.elements, "nothing else has moved"
    assert not check_layout(arrangement.layout, SIZES[placement])


def test_only_its_own_box_is_painted():
    pixels, product = wall(SIZES[None]), find_product(None)
    bare = Layout(*SIZES[None], Box(16, 16, 288, 368))
    layout = add_label(bare, LABELS.find("ja"), pixels, product).layout
    box = by_kind(layout)[Kind.LABEL].box
    changed = (paint(pixels, layout) != pixels).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert len(rows) > 100
    assert box.top - 2 <= rows.min() and rows.max() <= box.bottom + 2
    assert box.left - 2 <= columns.min() and columns.max() <= box.right + 2


def test_a_layout_that_has_a_label_keeps_it():
    pixels, product = wall(SIZES[None]), find_product(None)
    layout = arrange_caption("en", None, pixels).layout
    once = add_label(layout, LABELS.find("en"), pixels, product).layout
    assert add_label(once, LABELS.find("de"), pixels, product).layout is once


def test_without_room_or_letters_it_is_left_out_with_a_warning():
    pixels, whole = wall(SIZES[None]), Box(0, 0, *SIZES[None])
    layout = Layout(*SIZES[None], whole)
    full = add_label(layout, LABELS.find("en"), pixels, whole)
    assert full.layout == layout and full.warnings == ("no room for the label",)
    unwritten = add_label(layout, Title("\U00012000", "akk"), pixels, Box(0, 0, 9, 9))
    assert unwritten.layout == layout and "label is left out" in unwritten.warnings[0]


def test_it_stands_where_lines_end():
    corners = []
    for language in ("en", "he"):
        pixels, product = wall(SIZES[Placement.SQUARE]), find_product(Placement.SQUARE)
        layout = arrange_caption(language, title=False, price=None, former_price=None, badge="")
        label = add_label(layout.layout, LABELS.find(language), pixels, product).layout.elements[-1]
        corners.append(label.box.left > 200)
    assert corners == [True, False]
