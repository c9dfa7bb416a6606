"""A text becomes what can be set of it: normal form, no controls, no emoji, no unknown letter."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from icu4py.breakers import CharacterBreaker

from server.imaging.text.fonts import Fonts, is_ignorable
from server.localization.locales import is_right_to_left

# Direction marks and joiners are read by a shaper; the other controls could turn a title around.
KEPT_CONTROLS = frozenset("\u200c\u200d\u200e\u200f\u061c")
VARIATION_TO_EMOJI, KEYCAP = "\ufe0f", "\u20e3"
FIRST_EMOJI, LAST_EMOJI = 0x1F000, 0x1FAFF


class MissingGlyphs(ValueError):
    """No font has these letters."""

    def __init__(self, letters: str) -> None:
        super().__init__(f"no font has {', '.join(name_letter(letter) for letter in letters)}")
        self.letters = letters


@dataclass(frozen=True, slots=True)
class Lettering:
    """`text` is what is set; `left_out` are emoji and pictographs that are not."""

    text: str
    left_out: str = ""


def name_letter(letter: str) -> str:
    return f"{letter} (U+{ord(letter):04X})"


def prepare(text: str, language: str, fonts: Fonts, font: str = "") -> Lettering:
    """One paragraph: blanks and line breaks become single spaces.

    Emoji are left out: they would be drawn in one colour, beside a product that is in the picture
    anyway. So are pictographs that no font has. Raises MissingGlyphs for any other letter that no
    font has; an empty text stays empty.
    """
    normal = unicodedata.normalize("NFC", " ".join(text.split()))
    normal = "".join(letter for letter in normal if not _is_control(letter))
    kept, left_out, missing = [], [], []
    for cluster in CharacterBreaker(normal, language or "en"):
        if is_emoji(cluster):
            left_out.append(cluster)
        elif fonts.choose(cluster, language, font):
            kept.append(cluster)
        elif unicodedata.category(cluster[0]) in {"So", "Sk"}:
            left_out.append(cluster)
        else:
            missing += [letter for letter in cluster if not is_ignorable(letter)]
    if missing:
        raise MissingGlyphs("".join(dict.fromkeys(missing)))
    return Lettering(" ".join("".join(kept).split()), "".join(dict.fromkeys(left_out)))


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co"} and (
        letter not in KEPT_CONTROLS
    )


def is_emoji(cluster: str) -> bool:
    if VARIATION_TO_EMOJI in cluster or KEYCAP in cluster:
        return True
    return any(FIRST_EMOJI <= ord(letter) <= LAST_EMOJI for letter in cluster)


def runs_from_right(text: str, language: str) -> bool:
    """The direction of a paragraph: that of its language, if it has a letter of that direction,
    else that of its first letter with one. Figures alone run from the left: "-17%"."""
    strong = [unicodedata.bidirectional(letter) for letter in text]
    strong = [kind for kind in strong if kind in {"L", "R", "AL"}]
    from_right = is_right_to_left(language)
    if any((kind != "L") == from_right for kind in strong):
        return from_right
    return bool(strong) and strong[0] != "L"
