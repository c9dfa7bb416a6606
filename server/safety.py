"""What no creative may say or show: denied words, and a check of pictures that a shop plugs in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from diffusion import bounded_yaml
from diffusion.declarations import find_fault

SHIPPED = Path(__file__).with_name("denied_words.yaml")

LETTERS = tuple(dict(zip("034571@$", f"oeast{one}as", strict=True)) for one in "il")
"""What stands for a letter within a word; a 1 may be either of two."""

TOKEN = re.compile(r"[\w@$]+")
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han."""

NUM_REMEMBERED, LONGEST_REMEMBERED = 4096, 200
"""Texts whose entries are known without looking again, and the characters of one."""

MIN_SPELLED = 3
"""Letters in a row that are read as one word: "n s f w"."""


class SafetyUnusable(ValueError):
    """Denied words or a check of pictures that can't be used; says which, and why."""


class SafetyCheck(Protocol):
    """Looks at finished pictures; called from several threads."""

    def check(self, pixels: NDArray[np.uint8]) -> tuple[str, ...]:
        """What is wrong with a picture [H, W, 3], as short words such as "unsafe"."""


@dataclass(frozen=True, slots=True)
class Denied:
    """An entry that a text holds, as its file has it."""

    word: str
    category: str


class Category(BaseModel):
    """Of the file: see there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: tuple[str, ...]
    said_as: tuple[str, ...] = Field(("{}",), min_length=1)
    spares_products: bool = False

    def list_phrases(self, word: str) -> Iterator[str]:
        yield from (said.replace("{}", word) for said in self.said_as)


class DeniedWords:
    """Immutable."""

    def __init__(self, categories: Mapping[str, Category]) -> None:
        """Raises ValueError for an entry that has no word."""
        self._sparing = {name for name, each in categories.items() if each.spares_products}
        entries = [
            (word, [Denied(phrase, name) for phrase in category.list_phrases(word)])
            for name, category in categories.items()
            for word in category.words
        ]
        self._needles = [
            [
                (find_core(word, letters), [(as_needle(e.word, letters), e) for e in phrases])
                for word, phrases in entries
            ]
            for letters in LETTERS
        ]
        self._recall = lru_cache(NUM_REMEMBERED)(self._look)

    @classmethod
    def read(cls, path: Path | None = None) -> DeniedWords:
        """Those of a file, or those that come along. Raises SafetyUnusable."""
        path = path or SHIPPED
        try:
            told = bounded_yaml.parse(path.read_text("utf-8"))
            return cls(TypeAdapter(dict[str, Category]).validate_python(told))
        except ValidationError as error:
            field, reason = find_fault(error)
            raise SafetyUnusable(f"{path}: {field}: {reason}") from error
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise SafetyUnusable(f"{path}: can't be read: {error}") from error

    def find(self, text: str) -> list[Denied]:
        """The entries that a text holds, each once."""
        if not text:
            return []
        # Titles of products come again and again.
        return list(self._recall(text) if len(text) <= LONGEST_REMEMBERED else self._look(text))

    def _look(self, text: str) -> tuple[Denied, ...]:
        found: dict[Denied, None] = {}
        for letters, needles in zip(LETTERS, self._needles, strict=True):
            folded = f" {' '.join(split_words(text, letters))} "
            for core, phrases in needles:
                if core in folded:  # few texts have any, and a word may have many phrases
                    found |= {entry: None for needle, entry in phrases if needle in folded}
        return tuple(found)

    def find_categories(self, text: str, *, is_of_product: bool = False) -> tuple[str, ...]:
        """Those of the entries that a text holds, perhaps one that says what a product is: what a
        caller may be told."""
        found = dict.fromkeys(entry.category for entry in self.find(text))
        return tuple(each for each in found if not (is_of_product and each in self._sparing))


def find_core(word: str, letters: Mapping[str, str]) -> str:
    """What every phrase with that word has in it; letters that stand alone might be joined."""
    return max((each for each in split_words(word, letters) if len(each) > 1), key=len, default="")


def as_needle(entry: str, letters: Mapping[str, str]) -> str:
    """What to look for in the words of a text, put between spaces."""
    words = split_words(entry, letters)
    if not words:
        raise ValueError(f"{entry!r} has no word")
    needle = " ".join(words)
    if UNSPACED.search(entry):
        return needle
    return f" {needle}" if entry.endswith("*") else f" {needle} "


def split_words(text: str, letters: Mapping[str, str]) -> list[str]:
    """Words without case, accents, invisible signs, and digits for letters."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in folded if not is_silent(c))
    tokens = (token.replace("_", " ").strip() for token in TOKEN.findall(plain))
    words = [respell(token, letters) for token in tokens if token]
    joined: list[str] = []
    for is_single, run in groupby(words, lambda word: len(word) == 1):
        some = list(run)
        joined += ["".join(some)] if is_single and len(some) >= MIN_SPELLED else some
    return joined


def respell(word: str, letters: Mapping[str, str]) -> str:
    if not any(map(str.isalpha, word)):
        return word  # a number
    return "".join(letters.get(sign, sign) for sign in word)


def is_silent(sign: str) -> bool:
    """Whether it is an accent, a vowel point of Hebrew or Arabic, or not to be seen at all."""
    place = unicodedata.combining(sign)
    return 10 <= place <= 36 or place >= 200 or unicodedata.category(sign) == "Cf"


def load_check(name: str, options: Mapping[str, JsonValue] | None = None) -> SafetyCheck:
    """What `package.module:callable` gives for these keywords. Raises SafetyUnusable."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise SafetyUnusable(f"{name!r} is not like package.module:callable")
    try:
        made = getattr(import_module(module), attribute)(**(options or {}))
    except Exception as error:  # it is the shop's own code
        raise SafetyUnusable(f"{name}: {type(error).__name__}: {error}") from error
    if not callable(getattr(made, "check", None)):
        raise SafetyUnusable(f"{name} gave a {type(made).__name__}, which has no check(pixels)")
    return cast(SafetyCheck, made)
