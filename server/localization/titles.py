"""Which of a product's titles is read in a locale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from server.localization.locales import complete, find_parent, read_tag

DEFAULT_LANGUAGE = "en"
# Written languages that their readers read as well, from CLDR's table of matches.
RELATIVES = {"nn": "nb", "nb": "nn", "yue": "zh-Hant", "wuu": "zh", "gsw": "de", "lb": "de"}


@dataclass(frozen=True, slots=True)
class Title:
    """`language` is the tag under which the product has it; `is_fallback` where that is not the
    language asked for."""

    text: str
    language: str
    is_fallback: bool = False


def choose_title(titles: Mapping[str, str], locale: str) -> Title:
    """The title for a locale: its own tag, shorter and parent tags (RFC 4647, section 3.4, with
    CLDR's parents), the same script elsewhere, another script of the language, English, then
    whatever there is. Empty titles count as none.

    Raises KeyError on a product without titles.
    """
    known = {_spell(tag): tag for tag, title in titles.items() if title.strip()}
    for candidate in _parents(locale):
        if (found := known.get(candidate.lower())) is not None:
            if _shares_script(found, locale):
                return Title(titles[found], found)
    for relative in (locale, RELATIVES.get(complete(locale).language, "")):
        if relative and (found := _find_nearest(known.values(), relative)):
            return Title(titles[found], found)
    if not known:
        raise KeyError("a product without titles")
    found = _find_nearest(known.values(), DEFAULT_LANGUAGE) or known[min(known)]
    return Title(titles[found], found, is_fallback=True)


@lru_cache(maxsize=4096)
def _spell(tag: str) -> str:
    return str(read_tag(tag)).lower()


def _find_nearest(tags: Iterable[str], locale: str) -> str | None:
    """A tag of the same language. A title in the wrong script is still read by more people than
    one in the wrong language."""
    language = complete(locale).language
    same = (tag for tag in tags if complete(tag).language == language)
    return min(same, key=lambda tag: (not _shares_script(tag, locale), len(tag), tag), default=None)


def _parents(locale: str) -> list[str]:
    """The tag, then what CLDR has in its place, with and without what is likely of it."""
    chain: list[str] = []
    for tag in (str(read_tag(locale)), str(complete(locale))):
        while tag:
            if tag not in chain:
                chain.append(tag)
            tag = find_parent(tag)
    return chain


def _shares_script(tag: str, other: str) -> bool:
    return complete(tag).script == complete(other).script
