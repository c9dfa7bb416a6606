"""Living artists: their manner is asked for in many a language, and refused in each."""

import pytest

from server.safety import DeniedWords

WORDS = DeniedWords.read()


@pytest.mark.parametrize(
    "brief",
    [
        "in the style of Yayoi Kusama",
        "a table, Greg Rutkowski style, soft light",
        "inspired by Simon Stalenhag",
        "im Stil von David Hockney",
        "à la manière de Yoshitomo Nara",
        "al estilo de Takashi Murakami",
        "ao estilo de Romero Britto",
        "nello stile di Jeff Koons",
        "in de stijl van Banksy",
        "в стиле Бэнкси",
        "banksy风格的房间",
        "宮崎駿風の庭",
        "草间弥生风格",
        "st0rm, painted in the style of KAW$",
    ],
)
def test_a_manner_is_refused_in_every_language(brief):
    assert WORDS.find_categories(brief)[:1] == ("artists",)
    assert "artists" in WORDS.find_categories(brief, is_of_product=True)


@pytest.mark.parametrize("text", ["painted by Banksy", "figurine by KAWS", "gemalt von Ai Weiwei"])
def test_who_makes_a_picture_is_no_artist_but_a_product_may_be_by_one(text):
    assert WORDS.find_categories(text) == ("artists at work",)
    assert WORDS.find_categories(text, is_of_product=True) == ()


@pytest.mark.parametrize(
    "text",
    ["Banksy: a book about walls", "style of the sixties", "by the sea", "poster of Tim Burton"],
)
def test_names_and_manners_alone_are_not_refused(text):
    assert WORDS.find(text) == []
