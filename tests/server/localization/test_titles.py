"""Which title a locale reads, and under which tag."""

import pytest

from server.localization.titles import choose_title

SHOP = "bn da de en en-gb es es-mx fr hi it ja ko nb pt ru sv th uk vi zh zh-hant".split()


def choose(locale, *languages):
    return choose_title({tag: f"title in {tag}" for tag in languages or SHOP}, locale)


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("DE_at", "de"),
        ("en-GB", "en-gb"),
        ("en-AU", "en"),
        ("es-AR", "es"),
        ("es-419", "es"),
        ("es-MX", "es-mx"),
        ("pt-BR", "pt"),
        ("zh-CN", "zh"),
        ("zh-SG", "zh"),
        ("zh-TW", "zh-hant"),
        ("zh-HK", "zh-hant"),
        ("zh-Hant-MO", "zh-hant"),
        ("yue", "zh-hant"),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("und-JP", "ja"),
    ],
)
def test_a_locale_reads_the_nearest_title(locale, language):
    title = choose(locale)
    assert (title.language, title.text) == (language, f"title in {language}")
    assert not title.is_fallback


@pytest.mark.parametrize("locale", ["ar", "tlh", "xx-YY", "i-klingon", "ελ"])
def test_an_unknown_language_falls_back_to_english_and_says_so(locale):
    title = choose(locale)
    assert title.language == "en" and title.is_fallback


@pytest.mark.parametrize("locale", ["", "-", "und"])
def test_no_language_is_english(locale):
    assert choose(locale).language == "en"


def test_without_english_there_is_whatever_there_is():
    assert choose("ar", "th", "fr").language == "fr"


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de-x-formal", "de"),
        ("de-t-en", "de"),
        ("de-CH-1901", "de"),
        ("es-MX-x-kind", "es-mx"),
        ("zh-cmn-Hans-CN", "zh"),
        ("zh-yue-HK", "zh-hant"),
        ("en-a-bbb-x-a", "en"),
    ],
)
def test_what_is_not_of_a_language_is_left_out_from_the_right(locale, language):
    title = choose(locale)
    assert title.language == language and not title.is_fallback


def test_any_english_is_nearer_than_another_language():
    title = choose("ar", "de", "en-GB")
    assert title.language == "en-GB" and title.is_fallback


def test_a_script_of_the_language_is_preferred_to_another():
    assert choose("sr-Latn", "sr", "sr-Latn", "en").language == "sr-Latn"
    assert choose("sh", "sr", "sr-Latn", "en").language == "sr-Latn"
    assert choose("zh-TW", "zh", "zh-Hant", "en").language == "zh-Hant"


def test_another_script_of_the_language_is_preferred_to_another_language():
    assert choose("sr-Latn", "sr", "en").language == "sr"
    assert choose("zh-TW", "zh", "en").language == "zh"


def test_the_old_tag_of_a_language_finds_the_new_one():
    assert choose("nb", "no", "en").language == "no"
    assert choose("iw", "he", "en").language == "he"


def test_an_empty_title_is_none():
    title = choose_title({"de": "  ", "en": "bag"}, "de")
    assert title.text == "bag" and title.is_fallback


def test_a_product_without_titles_is_told():
    with pytest.raises(KeyError, match="without titles"):
        choose_title({"en": ""}, "en")
