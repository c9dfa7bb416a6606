"""A creative brief, read for models without a text encoder: which words of `AXES` it names.

It knows single words (`brief_words.yaml`) and which of them are negated, and nothing of grammar:
what it made of a brief is told with the image, and what it could not read as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from diffusion.looks import AXES
from diffusion.scenery import SEASONS

WORDS = Path(__file__).with_name("brief_words.yaml")
KINDS = {**AXES, "season": SEASONS}
"""What a word may choose, and out of what."""

TOKEN = re.compile(r"\w+|[^\w\s'’-]")
PHRASE = 3
"""Words in a phrase at most."""

Meaning = Mapping[str, tuple[str, ...]]
"""Choices by kind: ("sky",) of palettes and ("outdoor",) of settings."""


@dataclass(frozen=True, slots=True)
class Mention:
    """Words of a brief that mean something, as they stand there."""

    words: str
    meaning: Meaning
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in a text, in its order; `unread` are the words that nothing is known of."""

    mentions: tuple[Mention, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    meanings: Mapping[str, Meaning]
    stems: Mapping[str, Meaning]
    """Of words with any ending."""
    negations: frozenset[str]
    contrasts: frozenset[str]
    prepositions: frozenset[str]
    fillers: frozenset[str]

    @classmethod
    def load(cls, path: Path = WORDS) -> Vocabulary:
        """Raises ValueError where a choice is none."""
        told = yaml.safe_load(path.read_text("utf-8"))
        meanings: dict[str, dict[str, tuple[str, ...]]] = {}
        for kind, choices in KINDS.items():
            if unknown := set(told[kind]) - set(choices):
                raise ValueError(f"{path}: {kind}: no {', '.join(sorted(unknown))}")
            for choice, rows in told[kind].items():
                for word in (word for row in rows for word in row):
                    meaning = meanings.setdefault(word, {})
                    meaning[kind] = (*meaning.get(kind, ()), choice)
        roles = ("negations", "contrasts", "prepositions", "fillers")
        return cls(
            {word: meaning for word, meaning in meanings.items() if not word.endswith("*")},
            {word[:-1]: meaning for word, meaning in meanings.items() if word.endswith("*")},
            *(frozenset(word for row in told[role] for word in row) for role in roles),
        )

    def find(self, word: str) -> Meaning | None:
        """The meaning of a word or phrase, in lower case and without accents."""
        singular = word.removesuffix("s")
        if found := self.meanings.get(word) or self.meanings.get(singular):
            return found
        ends = range(len(word), 3, -1)
        return next((self.stems[word[:end]] for end in ends if word[:end] in self.stems), None)

    def is_filler(self, word: str) -> bool:
        return len(word) == 1 or word in self.fillers or word.removesuffix("s") in self.fillers


@cache
def load_vocabulary() -> Vocabulary:
    return Vocabulary.load()


def read_brief(text: str) -> Reading:
    """Takes a tenth of a millisecond for a usual brief."""
    vocabulary = load_vocabulary()
    mentions: list[Mention] = []
    unread: dict[str, None] = {}
    is_negated = has_named = False
    for words, plain in _split(text, vocabulary):
        if not words[0].isalnum() or plain in vocabulary.contrasts:
            is_negated = False
        elif plain in vocabulary.negations:
            is_negated, has_named = True, False
        elif plain in vocabulary.prepositions:
            is_negated = is_negated and not has_named
        elif meaning := vocabulary.find(plain):
            mentions.append(Mention(words, meaning, is_negated))
            has_named = True
        elif not vocabulary.is_filler(plain):
            unread[words] = None
            has_named = True
    return Reading(tuple(mentions), tuple(unread))


def _split(text: str, vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """Words, known phrases and marks, as they stand there and plain."""
    tokens = TOKEN.findall(text)
    known = (vocabulary.meanings, vocabulary.negations)
    start = 0
    while start < len(tokens):
        for length in range(PHRASE, 0, -1):
            words = " ".join(tokens[start : start + length])
            plain = _simplify(words)
            if length == 1 or any(form in k for k in known for form in (plain, plain.rstrip("s"))):
                yield words, plain
                start += min(length, len(tokens) - start)
                break


def _simplify(words: str) -> str:
    """Lower case, without accents."""
    letters = unicodedata.normalize("NFKD", words.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
