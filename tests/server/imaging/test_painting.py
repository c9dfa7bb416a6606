"""What is drawn is what the layout says: letter by letter, and readable."""

from dataclasses import replace

import numpy as np
import pytest
import uharfbuzz as hb

from server.creative import Box, Element, Kind, Layout, Placement, TextStyle
from server.imaging.colours import (
    choose_plated,
    find_accent,
    find_contrast,
    find_luminance,
    least_contrast,
    measure_distance,
    read_colour,
)
from server.imaging.painting import find_ink, paint, set_element
from server.imaging.text.lettering import MissingGlyphs
from tests.server.imaging.captioned import (
    SIZES,
    WORDS,
    arrange_caption,
    by_kind,
    noise,
    wall,
)
from tests.server.imaging.text import scripts

SAFE = Box(0, 0, 640, 96)


def write(text, language, **style):
    """A layout with one line in black on nothing."""
    told = TextStyle("Noto Sans Bold", 40.0, "#000000", language=language)
    element = Element(Kind.TITLE, Box(20, 20, 600, 60), text, replace(told, **style))
    return Layout(640, 96, SAFE, (element,))


def rasterize(layout, language):
    """Ink in 0..1 by HarfBuzz's own rasterizer, from the font file and the text alone."""
    element = layout.elements[0]
    face = hb.Face(hb.Blob.from_file_path(str(scripts.find_file(language))))
    font, buffer = hb.Font(face), hb.Buffer()
    buffer.add_str(element.text)
    buffer.guess_segment_properties()
    buffer.language = language
    hb.shape(font, buffer)
    _, x, y = find_ink(element, set_element(element))[0]
    scale = element.style.size / face.upem
    canvas = hb.RasterDraw()
    canvas.extents = hb.RasterExtents(0, 0, layout.width, layout.height, 0)
    for info, place in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        left, up = x + place.x_offset * scale, layout.height - y + place.y_offset * scale
        canvas.transform = (scale, 0, 0, scale, left, up)
        canvas.draw_glyph(font, info.codepoint)
        x += place.x_advance * scale
    image = canvas.render()
    rows = np.frombuffer(image.buffer, np.uint8).reshape(-1, image.extents.stride)
    return rows[::-1, : layout.width] / 255


@pytest.mark.parametrize(
    ("language", "text"),
    [(language, title[:18].strip()) for language, (title, _) in scripts.TITLES.items()]
    + [("ar", "يَدَوِيًّا"), ("he", "שָׁלוֹם"), ("th", "ผู้ที่ป๋ำ"), ("en", "q\u0303\u0301 ü")],
)
def test_letters_are_drawn_as_another_rasterizer_draws_them(language, text):
    layout = write(text, language)
    drawn = 1 - paint(wall((640, 96), (255, 255, 255)), layout)[..., 0] / 255
    expected = rasterize(layout, language)
    assert expected.sum() > 300
    # They differ in how an edge is smoothed; a letter that were missing or moved would differ by 1.
    difference = np.abs(drawn - expected)
    assert difference.max() < 0.35
    assert difference.sum() < 0.04 * expected.sum()


def test_a_layout_comes_out_as_a_designer_has_edited_it():
    picture = wall(SIZES[Placement.SQUARE])
    layout = arrange_caption().layout
    moved = [
        replace(e, box=replace(e.box, left=e.box.left + 10, top=e.box.top + 7))
        if e.kind is Kind.PRICE
        else e
        for e in layout.elements
    ]
    only = [e for e in moved if e.kind is Kind.PRICE]
    before = paint(
        picture, replace(layout, elements=tuple(e for e in layout.elements if e.kind is Kind.PRICE))
    )
    after = paint(picture, replace(layout, elements=tuple(only)))
    assert not np.array_equal(before, after)
    assert np.array_equal(after[7:, 10:], before[:-7, :-10])


def test_colour_size_and_text_are_those_of_the_layout():
    white = wall((640, 96), (255, 255, 255))
    red = paint(white, write("HHH", "en", colour="#ff0000"))
    assert (red.reshape(-1, 3) == [255, 0, 0]).all(axis=1).any()
    ink = [
        np.flatnonzero((paint(white, write("H", "en", size=size)) < 128).any(axis=(1, 2)))
        for size in (20.0, 40.0)
    ]
    assert np.ptp(ink[1]) == pytest.approx(2 * np.ptp(ink[0]), abs=2)
    plated = paint(white, write("H", "en", background="#00ff0080"))
    assert tuple(plated[50, 500]) == (127, 255, 127)


def test_a_translucent_plate_lets_the_picture_through():
    picture = noise((640, 96))
    plated = paint(picture, write(" H", "en", background="#00000080"))
    share = plated[30:70, 300:600] / np.maximum(picture[30:70, 300:600], 1)
    assert np.abs(share[picture[30:70, 300:600] > 60] - 127 / 255).max() < 0.02


def test_an_unknown_font_gives_way():
    white = wall((640, 96), (255, 255, 255))
    known, unknown = (
        paint(white, write("Bag 包", "en", font=f)) for f in ("Noto Sans Bold", "No Bold")
    )
    assert np.array_equal(known, unknown)


def test_what_nobody_can_draw_is_told_not_drawn():
    with pytest.raises(MissingGlyphs):
        paint(wall((640, 96)), write("\u0378", "en"))


def test_only_what_is_written_changes():
    picture = noise(SIZES[Placement.SQUARE])
    kept = picture.copy()
    layout = arrange_caption(pixels=picture).layout
    painted = paint(picture, layout)
    assert np.array_equal(picture, kept)
    outside = np.ones(picture.shape[:2], bool)
    for element in layout.elements:
        if element.kind in WORDS:
            box = element.box
            outside[
                int(box.top) : int(np.ceil(box.bottom)), int(box.left) : int(np.ceil(box.right))
            ] = False
    assert np.array_equal(painted[outside], picture[outside])
    box = by_kind(layout)[Kind.PRODUCT].box
    product = slice(int(box.top), int(box.bottom)), slice(int(box.left), int(box.right))
    assert np.array_equal(painted[product], picture[product])


def test_a_former_price_is_struck():
    layout = arrange_caption().layout
    former = by_kind(layout)[Kind.FORMER_PRICE]
    picture = wall(SIZES[Placement.SQUARE])
    drawn = paint(picture, replace(layout, elements=(former,)))
    plain = paint(picture, replace(layout, elements=(replace(former, kind=Kind.PRICE),)))
    rows = np.flatnonzero((drawn != plain).any(axis=(1, 2)))
    columns = np.flatnonzero((drawn != plain).any(axis=(0, 2)))
    assert np.ptp(rows) <= 0.2 * former.box.height
    assert np.ptp(columns) >= 0.5 * former.box.width


def look_behind(element, layout, picture):
    """The pixels that an element's letters stand on: its plate is drawn, its letters are not."""
    bare = replace(element, text=" " + "\n " * element.text.count("\n"))
    shown = paint(picture, replace(layout, elements=(bare,)))
    box = element.box
    middle = (
        slice(int(box.top) + 4, int(box.bottom) - 4),
        slice(int(box.left) + 6, int(box.right) - 6),
    )
    return shown[middle].reshape(-1, 3)


BACKGROUNDS = {
    "noise": noise,
    "dark noise": lambda size: noise(size, 0, 90),
    "light noise": lambda size: noise(size, 160, 256),
    "middle grey": lambda size: wall(size, (119, 119, 119)),
    "red": lambda size: wall(size, (200, 40, 40)),
    "black and white": lambda size: (
        np.where(noise(size)[..., :1] > 127, 255, 0).astype(np.uint8) * np.ones(3, np.uint8)
    ),
    "white": lambda size: wall(size, (255, 255, 255)),
    "black": lambda size: wall(size, (0, 0, 0)),
}


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("language", ["en", "ar", "zh"])
@pytest.mark.parametrize("placement", Placement)
def test_every_word_can_be_read_against_the_pixels_behind_it(background, language, placement):
    picture = BACKGROUNDS[background](SIZES[placement])
    layout = arrange_caption(language, placement, picture).layout
    words = [element for element in layout.elements if element.kind in WORDS]
    assert words
    for element in words:
        behind = look_behind(element, layout, picture)
        assert len(behind) and least_contrast(element.style.colour, behind) >= 4.5, element


def test_calm_pictures_have_no_plates_and_busy_ones_have():
    calm = by_kind(arrange_caption(pixels=wall((400, 400))).layout)
    busy = by_kind(arrange_caption(pixels=noise((400, 400))).layout)
    assert calm[Kind.TITLE].style.background == ""
    assert busy[Kind.TITLE].style.background != ""


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#000000", "#ffffff", 21.0), ("#777777", "#ffffff", 4.48), ("#ff0000", "#ffffff", 4.0)],
)
def test_contrast_is_that_of_wcag(one, other, ratio):
    assert find_contrast(one, other) == pytest.approx(ratio, abs=0.01)


def test_a_plate_is_as_clear_as_can_be_read():
    calm = choose_plated(noise((9, 9), 150, 256).reshape(-1, 3), "#14161b", "#ffffff")
    busy = choose_plated(noise((99, 99)).reshape(-1, 3), "#767676", "#ffffff")
    assert read_colour(calm.plate)[3] < 255
    assert least_contrast(busy.ink, noise((99, 99)).reshape(-1, 3), busy.plate) >= 4.5


def test_an_accent_is_of_the_picture_and_can_be_written_on_in_white():
    for colour in ((242, 116, 163), (102, 207, 165), (255, 215, 56), (88, 167, 240)):
        accent = find_accent(wall((60, 60), colour).reshape(-1, 3))
        assert find_contrast("#ffffff", accent) >= 4.5
        codes = read_colour(accent)[:3]
        assert int(np.argmax(codes)) == int(np.argmax(colour))
    grey = read_colour(find_accent(wall((60, 60), (120, 120, 120)).reshape(-1, 3)))[:3]
    assert max(grey) == min(grey)


def test_luminance_and_distance_have_known_values():
    white = np.full((1, 3), 255, np.uint8)
    assert find_luminance(white)[0] == pytest.approx(1.0)
    assert measure_distance("#ffffff", "#000000") == pytest.approx(100, abs=0.1)
    assert measure_distance("#ff0000", "#00ff00") == pytest.approx(170.6, abs=0.5)
