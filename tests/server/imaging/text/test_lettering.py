"""What of a text can be set, and what is said about the rest."""

import shutil

import pytest

from server.imaging.text import fonts
from server.imaging.text.fonts import (
    SHIPPED,
    SYSTEM,
    Fonts,
    FontUnusable,
    load_fonts,
    load_found,
    load_shipped,
)
from server.imaging.text.lettering import MissingGlyphs, prepare, runs_from_right
from tests.server.imaging.text.scripts import BOLD, ONLY_SHIPPED, TITLES


def found(font):
    assert font is not None
    return font


def prepare_text(text, language="en", choice=ONLY_SHIPPED):
    return prepare(text, language, choice, BOLD)


@pytest.mark.parametrize(
    ("text", "kept", "left_out"),
    [
        ("Summer ☀️ dress", "Summer dress", "☀️"),
        ("🔥 Sale 🔥", "Sale", "🔥"),
        ("Family 👨‍👩‍👧 pack", "Family pack", "👨‍👩‍👧"),
        ("Flag 🇩🇪", "Flag", "🇩🇪"),
        ("Top 1️⃣", "Top", "1️⃣"),
        ("★ Star ✓ ♥ →", "★ Star ✓ ♥ →", ""),
        ("Snow ⛷ fun", "Snow fun", "⛷"),
        ("😀", "", "😀"),
        ("½ price™ № 5 – 20 °C", "½ price™ № 5 – 20 °C", ""),
    ],
)
def test_emoji_and_unknown_pictographs_are_left_out(text, kept, left_out):
    lettering = prepare_text(text)
    assert (lettering.text, lettering.left_out) == (kept, left_out)


def test_blanks_and_controls_go():
    assert prepare_text(" a\n\tb\x00 \u202ec\u2066d\u2069 ").text == "a b cd"


def test_letters_are_composed():
    assert prepare_text("e\u0301").text == "é"


def test_joiners_and_direction_marks_stay():
    assert prepare_text("می\u200cخواهم", "fa").text == "می\u200cخواهم"


@pytest.mark.parametrize("text", ["ᚠᚢᚦ", "a𓀀", "ꦲꦏ"])
def test_letters_that_no_font_has_are_named(text):
    with pytest.raises(MissingGlyphs) as caught:
        prepare_text(text)
    assert set(caught.value.letters) <= set(text) and caught.value.letters


@pytest.mark.parametrize(
    ("text", "language", "from_right"),
    [
        ("جديد", "ar", True),
        ("iPhone جديد", "ar", True),
        ("iPhone", "ar", False),
        ("-17%", "he", False),
        ("", "ar", False),
        ("bag תיק", "en", False),
        ("תיק", "en", True),
    ],
)
def test_a_paragraph_runs_as_its_language_does(text, language, from_right):
    assert runs_from_right(text, language) == from_right


def test_the_shipped_fonts_are_small_and_have_two_weights():
    paths = sorted(SHIPPED.glob("*.?tf"))
    assert sum(path.stat().st_size for path in paths) < 8_000_000
    families = {path.stem.partition("-")[0] for path in paths}
    for family in families - {"NotoSansMath", "NotoSansSymbols2"}:
        assert {f"{family}-Bold", f"{family}-Regular"} <= {path.stem for path in paths}
    assert (SHIPPED / "OFL.txt").is_file()


@pytest.mark.parametrize("language", TITLES)
def test_each_language_has_a_font_of_its_own_letters(language):
    font = found(ONLY_SHIPPED.find(ONLY_SHIPPED.name(language, 700)))
    assert font.path.name == TITLES[language][1]


def test_a_named_font_goes_first():
    assert found(ONLY_SHIPPED.choose("a", "ja", "noto sans regular")).name == "Noto Sans Regular"
    assert (
        found(ONLY_SHIPPED.choose("包", "ja", "Noto Sans Regular")).path.stem == "NotoSansCJK-Bold"
    )


def test_an_unknown_font_gives_way_to_one_of_its_weight():
    assert found(ONLY_SHIPPED.choose("a", "en", "Helvetica Black")).weight == 700
    assert found(ONLY_SHIPPED.choose("a", "en", "Helvetica")).weight == 400


def test_whatever_clients_name_no_more_is_kept_than_there_are_fonts():
    choice = Fonts(folders=())
    for number in range(200):
        for name in (f"Font {number}", f"Font {number} Bold", "Noto Sans Regular"):
            assert choice.choose("a", f"en-x-{number}", name) is not None
    assert len(choice._chains) == 3


def test_what_is_shipped_by_none_is_looked_for_in_folders(tmp_path, monkeypatch):
    shutil.copy(SHIPPED / "NotoSansThai-Bold.ttf", tmp_path / "a.ttf")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    (tmp_path / "notes.txt").write_text("nothing")
    assert [font.name for font in load_found((tmp_path,))] == ["Noto Sans Thai Bold"]
    monkeypatch.setattr(fonts, "load_shipped", lambda: ())
    found = Fonts(folders=(tmp_path,)).choose("ก", "th")
    assert found is not None and found.path == tmp_path / "a.ttf"
    assert Fonts(folders=(tmp_path / "none",)).choose("ก", "th") is None


def test_fonts_that_a_shop_shares_are_found_by_name_and_go_before_the_systems(
    tmp_path, monkeypatch
):
    shared, system = tmp_path / "shared", tmp_path / "system"
    for folder in (shared, system):
        folder.mkdir()
        shutil.copy(SHIPPED / "NotoSansThai-Bold.ttf", folder / "a.ttf")
    assert found(Fonts(folders=(), shared=(shared,)).choose("ก", "th")).path.parent == SHIPPED
    monkeypatch.setattr(fonts, "load_shipped", lambda: ())
    ours = Fonts(folders=(system,), shared=(shared,))
    assert found(ours.choose("ก", "th")).path.parent == shared
    assert found(ours.find("Noto Sans Thai Bold")).path.parent == shared
    assert Fonts(folders=(system,)).find("Noto Sans Thai Bold") is None


def test_a_kits_own_fonts_go_before_the_shipped_ones(tmp_path):
    shutil.copy(SHIPPED / "NotoSansHebrew-Bold.ttf", tmp_path / "own.ttf")
    own = load_fonts([tmp_path / "own.ttf"], folders=())
    assert found(own.choose("א", "en")).path.name == "own.ttf"
    assert found(own.choose("z", "en")).path.parent == SHIPPED


@pytest.mark.parametrize("data", [b"", b"nothing", b"\x00\x01\x00\x00" * 9])
def test_a_file_that_is_no_font_is_named(tmp_path, data):
    (tmp_path / "x.ttf").write_bytes(data)
    with pytest.raises(FontUnusable, match="x.ttf"):
        load_fonts([tmp_path / "x.ttf"])
    with pytest.raises(FontUnusable, match="missing.ttf"):
        load_fonts([tmp_path / "missing.ttf"])


def test_folders_that_are_not_there_have_no_fonts():
    assert all(path.is_absolute() or path.drive or str(path)[1] == ":" for path in SYSTEM)
    assert len(load_shipped()) == 16
