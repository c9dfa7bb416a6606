"""Where a line may end: Unicode Standard Annex 14 and ICU's dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from icu4py.breakers import CharacterBreaker, LineBreaker, WordBreaker

from server.localization.locales import complete

# Titles are read at a glance: between phrases where ICU knows them, and never before a small kana.
STYLES = {"ja": "ja-u-lb-strict-lw-phrase", "ko": "ko-u-lw-phrase", "zh": "zh-u-lb-strict"}
ELLIPSIS = "…"

Measure = Callable[[str], float]


def find_chunks(text: str, language: str) -> list[str]:
    """The text cut wherever a line may end; Chinese only between words, as a title is read."""
    own = complete(language).language
    chunks = list(LineBreaker(text, STYLES.get(own, own)))
    if own not in {"zh", "yue"}:
        return chunks
    words = set(accumulate(len(word) for word in WordBreaker(text, own)))
    joined = [""]
    place = 0
    for chunk in chunks:
        joined[-1] += chunk
        place += len(chunk)
        if place in words:
            joined.append("")
    return [chunk for chunk in joined if chunk]


def find_clusters(text: str, language: str) -> list[str]:
    """The text cut between what a reader takes for letters."""
    return list(CharacterBreaker(text, language or "en"))


def break_lines(text: str, language: str, width: float, measure: Measure) -> list[str]:
    """As few lines as there can be, each as long as fits. A word that is too long for a line is
    cut between letters."""
    lines: list[str] = []
    line = ""
    for chunk in find_chunks(text, language):
        if measure((line + chunk).rstrip()) <= width:
            line += chunk
            continue
        if line:
            lines.append(line.rstrip())
        *full, line = cut(chunk, language, width, measure)
        lines += full
    return [*lines, line.rstrip()] if line.strip() else lines


def cut(chunk: str, language: str, width: float, measure: Measure) -> list[str]:
    """A chunk in pieces that fit; at least one letter each."""
    if measure(chunk.rstrip()) <= width:
        return [chunk]
    pieces, piece = [], ""
    for cluster in find_clusters(chunk, language):
        if piece and measure((piece + cluster).rstrip()) > width:
            pieces.append(piece)
            piece = ""
        piece += cluster
    return [*pieces, piece]


def balance(text: str, language: str, width: float, measure: Measure) -> list[str]:
    """The same number of lines, about equally long: no last line of one word."""
    lines = break_lines(text, language, width, measure)
    if len(lines) < 2:
        return lines
    low, high = 0.5 * width, width
    for _ in range(6):
        middle = (low + high) / 2
        tried = break_lines(text, language, middle, measure)
        if len(tried) == len(lines) and not cuts_words(tried, text, language):
            lines, high = tried, middle
        else:
            low = middle
    return lines


def cuts_words(lines: list[str], text: str, language: str) -> bool:
    """Whether a line ends where none may."""
    ends, place = set(), 0
    for chunk in find_chunks(text, language):
        place += len("".join(chunk.split()))
        ends.add(place)
    place = 0
    for line in lines:
        place += len("".join(line.split()))
        if place not in ends:
            return True
    return False


def shorten(text: str, language: str, width: float, max_lines: int, measure: Measure) -> list[str]:
    """At most `max_lines` lines, the last one with an ellipsis; empty where not even that fits."""
    lines = break_lines(text, language, width, measure)
    if len(lines) <= max_lines:
        return lines
    last = lines[max_lines - 1]
    clusters = find_clusters(last, language)
    for length in range(len(clusters), 0, -1):
        tried = "".join(clusters[:length]).rstrip(" ,.;:-–—、。，،") + ELLIPSIS
        if measure(tried) <= width:
            return [*lines[: max_lines - 1], tried]
    return []
