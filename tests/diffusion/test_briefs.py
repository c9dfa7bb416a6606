"""Briefs in single words: what is found, what is negated, what is left unread."""

import pytest

from diffusion.briefs import WORDS, Vocabulary, load_vocabulary, read_brief
from diffusion.looks import AXES
from diffusion.scenery import SEASONS

Choices = tuple[str, tuple[str, ...]]


def wishes(text):
    """(kind, choices) of what is wished and of what is not, and the words left."""
    reading = read_brief(text)
    sides: tuple[list[Choices], list[Choices]] = ([], [])
    for mention in reading.mentions:
        sides[mention.is_negated].extend(mention.meaning.items())
    return sides[0], sides[1], list(reading.unread)


OUTDOOR, SKY, TABLE = (("setting", ("outdoor",)), ("palette", ("sky",)), ("setting", ("table",)))
PATTERN, ROSE = ("setting", ("pattern",)), ("palette", ("rose",))

BRIEFS = [
    ("", [], [], []),
    ("A sunny day at the BEACH.", [OUTDOOR, OUTDOOR], [], ["day"]),
    ("blue gardens", [SKY, OUTDOOR], [], []),
    ("mahogany and espresso", [], [], ["mahogany", "espresso"]),
    ("no flowers or patterns", [], [TABLE, PATTERN], []),
    ("not blue, a garden", [OUTDOOR], [SKY], []),
    ("no bright blue", [], [SKY], ["bright"]),
    ("not in pink but in blue", [SKY], [ROSE], []),
    ("a beach without people in summer", [OUTDOOR, ("season", ("summer",))], [], ["people"]),
    ("don't use pink", [], [ROSE], []),
    ("free of stripes", [], [PATTERN], []),
    ("Strandtag, ohne Blumen", [OUTDOOR], [TABLE], []),
    ("une plage en été, sans rose", [OUTDOOR, ("season", ("summer",))], [ROSE], []),
    ("el jardín azul", [OUTDOOR, SKY], [], []),
    ("night sky", [("setting", ("night",))], [], []),
    ("sky at night", [SKY, ("setting", ("night",))], [], []),
    ("warm", [("palette", ("sand", "coral", "lemon"))], [], []),
    ("日本の夏", [], [], ["日本の夏"]),
    ("blueberry", [], [], ["blueberry"]),
    ("... !? --", [], [], []),
]


@pytest.mark.parametrize(("text", "wished", "denied", "unread"), BRIEFS, ids=lambda v: str(v)[:30])
def test_a_brief_is_read_word_by_word(text, wished, denied, unread):
    assert wishes(text) == (wished, denied, unread)


def test_a_word_may_mean_several_things():
    (mention,) = read_brief("Christmas").mentions
    assert mention.meaning == {"setting": ("festive",), "season": ("winter",)}


def test_every_choice_has_an_english_word_of_its_own():
    meanings = load_vocabulary().meanings
    for kind, choices in (*AXES.items(), ("season", SEASONS)):
        for choice in choices:
            alone = [word for word, found in meanings.items() if found.get(kind) == (choice,)]
            assert alone, (kind, choice)


def test_words_are_written_as_they_are_looked_up():
    vocabulary = load_vocabulary()
    for word in (*vocabulary.meanings, *vocabulary.stems, *vocabulary.fillers):
        assert word == word.lower() and word.isascii() and "-" not in word, word


def test_a_wrong_choice_in_the_table_is_named(tmp_path):
    table = tmp_path / "words.yaml"
    table.write_text(WORDS.read_text("utf-8").replace("  graphite:", "  granite:"), "utf-8")
    with pytest.raises(ValueError, match=r"words\.yaml: palette: no granite"):
        Vocabulary.load(table)
