"""The order of letters on a line that mixes directions: Unicode Standard Annex 9.

Without the explicit controls (embeddings, overrides, isolates), which `lettering` takes out; so
there is one level run sequence per line. The libraries for Python give back a reordered text, but
a shaper needs to know where each run was.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

STRONG_RIGHT = frozenset({"R", "EN", "AN"})  # what numbers count as among neutrals
NEUTRALS = frozenset({"B", "S", "WS", "ON"})
MAX_OPEN_BRACKETS = 63


@dataclass(frozen=True, slots=True)
class Run:
    """Letters [start, stop) of one direction."""

    start: int
    stop: int
    is_right_to_left: bool


def order_runs(text: str, is_right_to_left: bool) -> list[Run]:
    """The runs of a line from left to right (rule L2)."""
    runs: list[tuple[int, Run]] = []
    start = 0
    for level, group in groupby(find_levels(text, int(is_right_to_left))):
        stop = start + len(list(group))
        runs.append((level, Run(start, stop, level % 2 == 1)))
        start = stop
    highest = max((level for level, _ in runs), default=0)
    for level in range(highest, 0, -1):
        runs = _reverse(runs, level)
    return [run for _, run in runs]


def _reverse(runs: list[tuple[int, Run]], level: int) -> list[tuple[int, Run]]:
    turned: list[tuple[int, Run]] = []
    for is_deep, group in groupby(runs, lambda run: run[0] >= level):
        part = list(group)
        turned += reversed(part) if is_deep else part
    return turned


def find_levels(text: str, base: int) -> list[int]:
    """Level by letter: odd ones run from right to left. `base` is that of the paragraph, 0 or 1."""
    seen = [at for at, letter in enumerate(text) if unicodedata.bidirectional(letter) != "BN"]
    original = [unicodedata.bidirectional(text[at]) or "L" for at in seen]
    embedding = "R" if base else "L"
    types = resolve_weak(original, embedding)
    resolve_brackets("".join(text[at] for at in seen), original, types, embedding)
    resolve_neutrals(types, embedding)
    own = [_lift(base, kind) for kind in types]
    _reset_blanks(original, own, base)
    levels = [base] * len(text)
    for at, level in zip(seen, own, strict=True):
        levels[at] = level
    for at in sorted(
        set(range(len(text))) - set(seen)
    ):  # an ignored letter goes with the one before
        levels[at] = levels[at - 1] if at else base
    return levels


def _lift(base: int, kind: str) -> int:
    """Rules I1 and I2."""
    if base % 2 == 0:
        return base + {"L": 0, "R": 1}.get(kind, 2)
    return base + {"R": 0}.get(kind, 1)


def _reset_blanks(original: list[str], levels: list[int], base: int) -> None:
    """Rule L1: separators, and blanks before them and at the end."""
    is_edge = True
    for at in reversed(range(len(original))):
        if original[at] in {"B", "S"}:
            is_edge = True
        elif original[at] != "WS":
            is_edge = False
        if is_edge:
            levels[at] = base


def resolve_weak(original: list[str], embedding: str) -> list[str]:
    """Rules W1 to W7."""
    types = list(original)
    for at, kind in enumerate(types):  # W1
        if kind == "NSM":
            types[at] = types[at - 1] if at else embedding
    strong = embedding
    for at, kind in enumerate(types):  # W2, and W3 for the letters that it has passed
        if kind in {"L", "R", "AL"}:
            strong = kind
        if kind == "EN" and strong == "AL":
            types[at] = "AN"
    types = ["R" if kind == "AL" else kind for kind in types]
    for at in range(1, len(types) - 1):  # W4
        before, after = types[at - 1], types[at + 1]
        if before == after and (
            (types[at] in {"ES", "CS"} and before == "EN") or (types[at], before) == ("CS", "AN")
        ):
            types[at] = before
    start = 0
    for kind, group in groupby(list(types)):  # W5
        stop = start + len(list(group))
        around = types[start - 1 : start] + types[stop : stop + 1]
        if kind == "ET" and "EN" in around:
            types[start:stop] = ["EN"] * (stop - start)
        start = stop
    types = ["ON" if kind in {"ES", "ET", "CS"} else kind for kind in types]  # W6
    strong = embedding
    for at, kind in enumerate(types):  # W7
        if kind in {"L", "R"}:
            strong = kind
        if kind == "EN" and strong == "L":
            types[at] = "L"
    return types


def resolve_brackets(text: str, original: list[str], types: list[str], embedding: str) -> None:
    """Rule N0: a pair of brackets takes the direction of what it holds."""
    for first, last in find_pairs(text, types):
        held = {_as_strong(kind) for kind in types[first + 1 : last]} - {""}
        if not held:
            continue
        direction = embedding
        if embedding not in held:
            before = (_as_strong(kind) for kind in reversed(types[:first]))
            if next((kind for kind in before if kind), embedding) != embedding:
                direction = next(iter(held))
        for at in (first, last):
            types[at] = direction
            while at + 1 < len(types) and original[at + 1] == "NSM":
                at += 1
                types[at] = direction


def find_pairs(text: str, types: list[str]) -> list[tuple[int, int]]:
    """Rule BD16."""
    opened: list[tuple[str, int]] = []
    pairs = []
    for at, letter in enumerate(text):
        if types[at] != "ON" or not unicodedata.mirrored(letter):
            continue
        if (partner := find_partner(letter)) and unicodedata.category(letter) == "Ps":
            if len(opened) == MAX_OPEN_BRACKETS:
                return []
            opened.append((partner, at))
        elif partner:
            places = [place for place, (closing, _) in enumerate(opened) if closing == letter]
            if places:
                pairs.append((opened[places[-1]][1], at))
                del opened[places[-1] :]
    return sorted(pairs)


@lru_cache(maxsize=1024)
def find_partner(bracket: str) -> str:
    """The other bracket of a pair, by its name; empty for what is none."""
    if unicodedata.category(bracket) not in {"Ps", "Pe"}:
        return ""
    name = unicodedata.name(bracket)
    swapped = {"LEFT": "RIGHT", "RIGHT": "LEFT", "TOP": "BOTTOM"}
    other = " ".join(swapped.get(word, word) for word in name.replace("-", " - ").split())
    try:
        return unicodedata.lookup(other.replace(" - ", "-"))
    except KeyError:
        return ""


def resolve_neutrals(types: list[str], embedding: str) -> None:
    """Rules N1 and N2."""
    start = 0
    for is_neutral, group in groupby(list(types), lambda kind: kind in NEUTRALS):
        stop = start + len(list(group))
        if is_neutral:
            before = _as_strong(types[start - 1]) if start else embedding
            after = _as_strong(types[stop]) if stop < len(types) else embedding
            types[start:stop] = [before if before == after else embedding] * (stop - start)
        start = stop


def _as_strong(kind: str) -> str:
    return "L" if kind == "L" else "R" if kind in STRONG_RIGHT else ""
