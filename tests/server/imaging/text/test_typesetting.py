"""Lines that end where they may, at sizes that fit."""

import pytest

from server.imaging.text.breaking import break_lines, cuts_words, find_chunks, shorten
from server.imaging.text.typesetting import Room, Voice, fit, set_lines
from tests.server.imaging.text.scripts import BOLD, ONLY_SHIPPED, TITLES

LONG = {language: " ".join([title] * 8) for language, (title, _) in TITLES.items()}


def fit_in(text, room, voice):
    block = fit(text, room, voice)
    assert block is not None
    return block


def voice(language):
    return Voice(ONLY_SHIPPED, BOLD, language)


@pytest.mark.parametrize(
    ("language", "text", "chunks"),
    [
        ("en", "hand-made bag, 5 kg", ["hand-", "made ", "bag, ", "5 ", "kg"]),
        ("th", "กระเป๋าสะพายข้าง", ["กระเป๋า", "สะพาย", "ข้าง"]),
        ("zh", "女士手工包。", ["女士", "手工", "包。"]),
        ("ja", "本革ショルダー、新作です", ["本", "革", "ショルダー、", "新作です"]),
        ("ko", "천연 가죽", ["천연 ", "가죽"]),
    ],
)
def test_lines_may_end_where_readers_expect_it(language, text, chunks):
    chunked = find_chunks(text, language)
    assert "".join(chunked) == text
    assert chunked == chunks


@pytest.mark.parametrize("language", ["zh", "zh-Hant", "ja"])
def test_no_line_begins_with_a_closing_mark_or_a_small_kana(language):
    text = "手工、单肩包。「新作」ショッピング、ッ。" * 3
    lines = break_lines(text, language, 5.0, voice(language).measure)
    assert len(lines) > 4
    assert not [line for line in lines if line[0] in "、。」ッョー"]


@pytest.mark.parametrize("language", TITLES)
@pytest.mark.parametrize(("width", "height"), [(300, 60), (160, 160), (90, 40)])
def test_a_text_fits_its_room(language, width, height):
    room = Room(width, height, largest=40, smallest=10, max_lines=4)
    for text in (TITLES[language][0], LONG[language]):
        block = fit(text, room, voice(language))
        assert block is not None
        assert block.width <= width + 1e-6 and block.height <= height + 1e-6
        assert 10 <= block.size <= 40 and len(block.lines) <= 4
        if not block.text.endswith("…"):
            assert "".join(block.text.split()) == "".join(text.split())


@pytest.mark.parametrize("language", TITLES)
def test_what_is_too_long_ends_in_an_ellipsis(language):
    block = fit(LONG[language], Room(120, 30, 20, 12, max_lines=1), voice(language))
    assert block is not None and block.text.endswith("…")


def test_an_amount_is_never_shortened():
    room = Room(40, 20, 20, 12, may_shorten=False)
    assert fit("1.234.567,00 €", room, voice("de")) is None


def test_where_not_even_a_letter_fits_there_is_nothing():
    assert fit("bag", Room(3, 3, 20, 12), voice("en")) is None
    assert shorten("bag", "en", 0.1, 1, voice("en").measure) == []


def test_the_largest_size_that_fits_is_taken():
    small, large = (fit_in("bag", Room(w, 100, 80, 10), voice("en")).size for w in (60, 160))
    assert 10 < small < large == 80


def test_lines_are_about_equally_long():
    block = fit_in("one two three four five six", Room(200, 200, 30, 30, 3), voice("en"))
    widths = [line.width for line in block.lines]
    assert min(widths) > 0.6 * max(widths)


def test_a_word_is_cut_only_where_there_is_no_other_way():
    word = "Donaudampfschifffahrtsgesellschaft"
    wide, narrow = Room(400, 60, 30, 10, 2), Room(60, 60, 30, 10, 3)
    assert fit_in(word, wide, voice("de")).text == word
    cut = fit_in(word, narrow, voice("de")).text.split("\n")
    assert len(cut) > 1 and cuts_words([line.rstrip("…") for line in cut], word, "de")


@pytest.mark.parametrize("language", TITLES)
def test_lines_never_touch(language):
    block = set_lines([TITLES[language][0]] * 3, 20, voice(language))
    line = block.lines[0]
    assert block.pitch >= 20 * (line.top - line.bottom)
