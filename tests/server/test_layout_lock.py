"""A layout that comes back puts the product where it was, or where a designer has moved it."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffusion.composition import place
from server.commission import find_shape
from server.core import OutputSpec
from server.creative import Box, Caption, Element, Kind, Placement, Price, TextStyle
from server.finishing import COVERED
from server.imaging.compose import find_place
from server.imaging.frame import Frame
from tests.server.scripted_reader import ask

CAPTION = Caption(title=True, price=Price("EUR", 12), badge="New")
STYLE = TextStyle("Noto Sans Bold", 20.0, "#112233", "#ffffffcc", False, "en")


def wish(**changes):
    return ask(**{"caption": CAPTION, "seed": 1, "output": OutputSpec(longest_side=256), **changes})


def pixels(result):
    return np.asarray(Image.open(io.BytesIO(result.images[0].data)))


def edges(box):
    return box.left, box.top, box.right, box.bottom


def move(layout, box):
    product, *others = layout.elements
    return replace(layout, elements=(replace(product, box=box), *others))


@pytest.mark.parametrize("locale", ["en", "ar"])
@pytest.mark.parametrize("placement", [None, *Placement])
async def test_sent_back_without_its_placement_it_gives_the_same_picture(
    pipeline, placement, locale
):
    first = await pipeline.generate(wish(placement=placement, locale=locale))
    layout = first.images[0].layout
    again = await pipeline.generate(wish(layout=layout, locale=locale))
    assert again.images[0].layout == layout
    assert np.array_equal(pixels(again), pixels(first))
    large = OutputSpec(longest_side=512)
    larger = await pipeline.generate(wish(layout=layout, locale=locale, output=large))
    there = [2 * edge for edge in edges(layout.elements[0].box)]
    assert edges(larger.images[0].layout.elements[0].box) == pytest.approx(there, abs=2)


async def test_a_product_that_was_moved_stands_where_it_was_moved_to(pipeline):
    first = (await pipeline.generate(wish(caption=Caption(badge="New")))).images[0]
    box = first.layout.elements[0].box
    smaller = Box(20, 40, 0.6 * box.width, 0.6 * box.height)
    result = await pipeline.generate(wish(layout=move(first.layout, smaller)))
    (image,) = result.images
    assert edges(image.layout.elements[0].box) == pytest.approx(edges(smaller), abs=0.5)
    assert image.fidelity.max_difference == 0 and not image.is_original


@pytest.mark.parametrize("shape", [0.1, 0.4, 1.0, 2.5, 9.0])
@pytest.mark.parametrize("size", [(256, 256), (144, 256), (768, 256), (257, 131)])
def test_a_frame_is_found_again_by_where_its_product_is(shape, size):
    for frame in (Frame.around(*size), Frame(size[0], size[1], 0.31, 0.77, 0.61, True)):
        side = frame.size * min(size)
        width, height = side * min(1, shape), side * min(1, 1 / shape)
        left, ground = frame.x * size[0] - width / 2, frame.ground * size[1]
        box = Box(left, ground - height, width, height)
        found = Frame.holding(box, size, shape, size, is_mirrored=frame.is_mirrored)
        assert found.square == frame.square and found.is_mirrored is frame.is_mirrored


@pytest.mark.parametrize("shape", [0.2, 5.0])
def test_a_product_of_another_shape_is_as_large_as_the_box_allows(shape):
    box = Box(60, 40, 100, 200)
    frame = Frame.holding(box, (400, 300), shape, (400, 300))
    own = find_place(frame)
    width, height = own.width * min(1, shape), own.height * min(1, 1 / shape)
    assert width <= box.width + 2 and height <= box.height + 2
    assert width >= box.width or height >= box.height
    assert (frame.x, frame.ground) == (110 / 400, 240 / 300)


def test_a_product_never_outgrows_the_shorter_side():
    wide = Frame.holding(Box(0, 50, 1000, 200), (1000, 250), 5.0, (1000, 250))
    assert wide.size == 1.0


def test_the_shape_of_a_packshot_is_that_of_what_can_be_seen():
    drawn = np.zeros((100, 100, 4), np.uint8)
    drawn[20:30, 10:60] = 255
    assert find_shape(drawn) == 5.0 and find_shape(drawn[:50, ..., :3]) == 2.0
    assert find_shape(None) == 1.0
    rows, columns = np.nonzero(place(drawn, 100)[1])
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("placement", [None, *Placement])
async def test_our_own_words_cover_no_product(pipeline, placement):
    result = await pipeline.generate(wish(placement=placement, locale="de"))
    assert result.images[0].fidelity.max_difference == 0
    assert COVERED not in result.warnings


async def test_what_a_layout_lays_over_the_product_is_told(pipeline):
    bare = await pipeline.generate(wish(caption=Caption(badge="New")))
    layout = bare.images[0].layout
    box = layout.elements[0].box
    badge = Element(Kind.BADGE, Box(box.left, box.top, 60, 30), "Sale", STYLE)
    over = replace(layout, elements=(layout.elements[0], badge))
    result = await pipeline.generate(wish(layout=over))
    assert result.images[0].fidelity.max_difference > 50
    assert result.warnings == (COVERED,) and not result.tries
    beside = replace(badge, box=Box(0, 0, 60, 30))
    fine = await pipeline.generate(wish(layout=replace(over, elements=(over.elements[0], beside))))
    assert fine.images[0].fidelity.max_difference == 0 and not fine.warnings
