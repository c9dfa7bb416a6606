"""What is known of a language tag."""

import pytest

from server.localization.locales import find_locale, is_right_to_left, read_tag
from tests.server.doors.test_locales import GOOD

WITHOUT_LANGUAGE = {"i-enochian", "x-whatever"}


@pytest.mark.parametrize("tag", [tag for tag in GOOD if tag not in WITHOUT_LANGUAGE])
def test_every_tag_that_the_door_lets_in_keeps_a_language(tag):
    own = read_tag(tag)
    first, *others = tag.lower().split("-")
    assert own.language in {first, *others, "zh", "nan"} and own.language != "und"
    assert not {own.script.lower(), own.region.lower()} - {"", *others}


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("zh-cmn-Hans-CN", ("zh", "Hans", "CN")),
        ("zh-yue-HK", ("yue", "", "HK")),
        ("zh-min-nan", ("nan", "", "")),
        ("sl-rozaj-biske", ("sl", "", "")),
        ("de-CH-x-phonebk", ("de", "", "CH")),
        ("az-Arab-x-AZE-derbend", ("az", "Arab", "")),
        ("en-GB-oed", ("en", "", "GB")),
        ("sh", ("sr", "Latn", "")),
        ("pt_br", ("pt", "", "BR")),
        ("x-whatever", ("und", "", "")),
        ("i-enochian", ("und", "", "")),
        ("", ("und", "", "")),
    ],
)
def test_a_tag_is_read_from_the_left_as_far_as_it_goes(tag, parts):
    own = read_tag(tag)
    assert (own.language, own.script, own.region) == parts


@pytest.mark.parametrize(
    ("tag", "is_so"),
    [
        ("ar-x-foo", True),
        ("he-x-test", True),
        ("az-Arab-x-AZE-derbend", True),
        ("ur", True),
        ("de-x-ar", False),
        ("az", False),
    ],
)
def test_the_direction_survives_what_is_private(tag, is_so):
    assert is_right_to_left(tag) is is_so


def test_prices_are_those_of_the_language_whatever_follows_it():
    assert str(find_locale("de-x-formal")) == "de"
    assert str(find_locale("de-CH-1901-u-co-phonebk")) == "de_CH"
