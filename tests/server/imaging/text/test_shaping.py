"""What is set, glyph by glyph, against HarfBuzz fed by hand."""

import json
from importlib.resources import files

import pytest
import uharfbuzz as hb

from server.imaging.text.fonts import BOLD as BOLD_WEIGHT
from server.imaging.text.fonts import load_shipped
from server.imaging.text.lettering import MissingGlyphs, prepare
from server.imaging.text.shaping import draw_outline, itemize, shape_line
from tests.server.imaging.text.scripts import BOLD, FROM_RIGHT, ONLY_SHIPPED, TITLES, find_file


def shape_by_hand(text, language):
    """(glyph, x, y) in em and the advance, from the file alone."""
    face = hb.Face(hb.Blob.from_file_path(str(find_file(language))))
    font, buffer = hb.Font(face), hb.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.language = language
    hb.shape(font, buffer)
    glyphs, x = [], 0
    for info, place in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        glyphs.append(
            (info.codepoint, (x + place.x_offset) / face.upem, place.y_offset / face.upem)
        )
        x += place.x_advance
    return glyphs, x / face.upem


@pytest.mark.parametrize("language", TITLES)
def test_every_script_is_set_as_the_shaper_says(language):
    text = TITLES[language][0]
    line = shape_line(text, language, BOLD, ONLY_SHIPPED)
    glyphs, width = shape_by_hand(text, language)
    assert [glyph.id for glyph in line.glyphs] == [glyph for glyph, _, _ in glyphs]
    for mine, (_, x, y) in zip(line.glyphs, glyphs, strict=True):
        assert (mine.x, mine.y) == pytest.approx((x, y), abs=1e-9)
    assert line.width == pytest.approx(width)
    assert 0 not in {glyph.id for glyph in line.glyphs}
    assert {glyph.font.path for glyph in line.glyphs} == {find_file(language)}


@pytest.mark.parametrize("language", sorted(FROM_RIGHT))
def test_the_first_letter_of_a_script_from_the_right_stands_at_the_right(language):
    text = TITLES[language][0]
    whole = shape_line(text, language, BOLD, ONLY_SHIPPED)
    word = shape_line(text.split()[0], language, BOLD, ONLY_SHIPPED)
    assert [g.id for g in whole.glyphs[-len(word.glyphs) :]] == [g.id for g in word.glyphs]


def test_arabic_letters_join():
    alone = {shape_line(letter, "ar", BOLD, ONLY_SHIPPED).glyphs[0].id for letter in "جديد"}
    joined = {glyph.id for glyph in shape_line("جديد", "ar", BOLD, ONLY_SHIPPED).glyphs}
    assert joined - alone


def test_han_takes_the_form_of_its_language():
    forms = {
        language: [g.id for g in shape_line("直角骨", language, BOLD, ONLY_SHIPPED).glyphs]
        for language in ("zh", "zh-Hant", "ja", "ko")
    }
    assert forms["zh"] != forms["ja"] and forms["zh"] != forms["zh-Hant"]
    assert forms["zh-Hant"] != forms["ja"]
    assert [g.id for g in shape_line("直角骨", "zh-TW", BOLD, ONLY_SHIPPED).glyphs] == forms[
        "zh-Hant"
    ]


def test_serbian_takes_its_own_cyrillic():
    serbian, russian = (
        [g.id for g in shape_line("бб", language, BOLD, ONLY_SHIPPED).glyphs]
        for language in ("sr", "ru")
    )
    assert serbian != russian


def test_a_mixed_line_is_set_of_several_fonts():
    pieces = list(itemize("Сумка 包 กระ 5 kg", "ru", BOLD, ONLY_SHIPPED))
    assert "".join(piece.text for piece in pieces) == "Сумка 包 กระ 5 kg"
    assert {piece.font.path.stem for piece in pieces} == {
        "NotoSans-Bold",
        "NotoSansCJK-Bold",
        "NotoSansThai-Bold",
    }


def test_figures_between_arabic_words_keep_their_order():
    line = shape_line("حقيبة 15 جديد", "ar", BOLD, ONLY_SHIPPED)
    one, five = (shape_line(f, "ar", BOLD, ONLY_SHIPPED).glyphs[0].id for f in "15")
    ids = [glyph.id for glyph in line.glyphs]
    assert ids.index(five) == ids.index(one) + 1


def test_brackets_are_mirrored_among_hebrew():
    shown = [g.id for g in shape_line("(א)", "he", BOLD, ONLY_SHIPPED).glyphs]
    plain = [g.id for g in shape_line("(a)", "en", "Noto Sans Hebrew Bold", ONLY_SHIPPED).glyphs]
    assert (shown[0], shown[-1]) == (plain[0], plain[-1])


def read_products():
    lines = files("features.world").joinpath("products.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["titles"] for line in lines]


def test_every_title_of_the_catalogue_has_all_its_glyphs():
    titles = [(tag, title) for product in read_products() for tag, title in product.items()]
    assert len(titles) > 14_000 and len({tag for tag, _ in titles}) == 28
    bold = {id(font) for font in load_shipped() if font.weight == BOLD_WEIGHT}
    for language, title in titles:
        lettering = prepare(title, language, ONLY_SHIPPED, BOLD)
        assert not lettering.left_out, title
        line = shape_line(lettering.text, language, BOLD, ONLY_SHIPPED)
        assert all(glyph.id and id(glyph.font) in bold for glyph in line.glyphs), title


def test_what_no_font_has_is_named_and_not_drawn():
    with pytest.raises(MissingGlyphs, match=r"𓀀 \(U\+13000\)") as caught:
        shape_line("a𓀀", "en", BOLD, ONLY_SHIPPED)
    assert caught.value.letters == "𓀀"


def test_an_outline_is_drawn_as_a_closed_path():
    glyph = shape_line("O", "en", BOLD, ONLY_SHIPPED).glyphs[0]
    path = draw_outline(glyph.font, glyph.id)
    assert path.count("M") == path.count("Z") == 2
