"""The drawing, from flat colours whose places are known."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from server.demo.contact_sheet import (
    ACCENT,
    CAPTION,
    GAP,
    HEADER,
    MARGIN,
    MUTED,
    PAPER,
    SIDEBAR,
    STRIP_GAP,
    TILE,
    Sheet,
    Strip,
    Tile,
    draw_contact_sheet,
    fit,
    to_font,
    wrap,
)

RED, BLUE = (200, 30, 40), (20, 60, 220)
FONT = ImageFont.load_default(20)


def flat(colour, size=(40, 40), mode="RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def sheet_of(*strips: tuple[Tile, ...]) -> Sheet:
    return Sheet("Title", "subtitle", tuple(Strip("strip", "words", s) for s in strips), "footer")


def centre(strip: int, column: int) -> tuple[int, int]:
    top = HEADER + strip * (TILE + CAPTION + STRIP_GAP) + STRIP_GAP // 2
    return MARGIN + SIDEBAR + column * (TILE + GAP) + TILE // 2, top + TILE // 2


def test_each_tile_is_where_its_strip_and_column_say():
    red, blue = Tile(flat(RED), "red", "n", True), Tile(flat(BLUE), "blue", "n", False)
    drawn = draw_contact_sheet(sheet_of((red, blue, red), (blue, red)))
    colours = {RED: "red", BLUE: "blue", PAPER: "paper"}
    rows = [[colours[drawn.getpixel(centre(s, c))] for c in range(3)] for s in range(2)]  # type: ignore[index]
    assert rows == [["red", "blue", "red"], ["blue", "red", "paper"]]


def test_the_dot_says_whether_an_image_was_made_for_its_shopper():
    tiles = (Tile(flat(RED), "t", "", True), Tile(flat(RED), "t", "", False))
    pixels = np.asarray(draw_contact_sheet(sheet_of(tiles)))
    left, right = pixels[:, : centre(0, 1)[0] - TILE // 2], pixels[:, centre(0, 1)[0] - TILE // 2 :]
    assert (left == ACCENT).all(-1).any() and not (left == MUTED).all(-1).any()
    assert (right == MUTED).all(-1).any() and not (right == ACCENT).all(-1).any()


def test_corners_are_round_and_the_paper_shows():
    drawn = draw_contact_sheet(sheet_of((Tile(flat(RED), "t", "n", True),)))
    x, y = centre(0, 0)
    assert drawn.getpixel((x - TILE // 2, y - TILE // 2)) == PAPER
    assert drawn.getpixel((x - TILE // 2, y)) == RED


@pytest.mark.parametrize("size", [(80, 20), (20, 80), (4, 300)])
def test_a_picture_of_any_shape_is_shown_whole(size):
    drawn = draw_contact_sheet(sheet_of((Tile(flat(RED, size), "t", "n", True),)))
    pixels = np.asarray(drawn)
    shown = (np.abs(pixels.astype(int) - RED).sum(-1) < 30).sum()
    scale = TILE / max(size)
    assert shown == pytest.approx(size[0] * scale * size[1] * scale, rel=0.1, abs=2 * TILE)
    assert drawn.getpixel(centre(0, 0)) == pytest.approx(RED, abs=60)


def test_transparency_becomes_white():
    drawn = draw_contact_sheet(sheet_of((Tile(flat((0, 0, 0, 0), mode="RGBA"), "t", "n", True),)))
    assert drawn.getpixel(centre(0, 0)) == (255, 255, 255)


def test_text_keeps_to_its_width_and_to_the_letters_of_the_font():
    assert fit("short", FONT, 300) == "short"
    cut = fit("a very long caption that fits nowhere", FONT, 120)
    assert cut.endswith("…") and FONT.getlength(cut) <= 120
    assert to_font("Amélie · Åse… 李") == "Amelie · Ase… ?"
    lines = wrap("one two three four five six", FONT, 90)
    assert " ".join(lines) == "one two three four five six" and len(lines) > 1
    assert all(FONT.getlength(line) <= 90 for line in lines)
    assert wrap("unbreakable-word-of-some-length", FONT, 10) == ["unbreakable-word-of-some-length"]
