"""Fonts: shipped, of a brand kit, of the system, and which of them has a letter."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import uharfbuzz as hb

from server.localization.locales import complete

SHIPPED = Path(__file__).parent / "fonts"
SYSTEM = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path("/Library/Fonts"),
    Path("/System/Library/Fonts"),
    Path("C:/Windows/Fonts"),
)
BOLD, REGULAR = 700, 400
# Where a language's own letters are looked for first; the others follow in the order of ORDER.
FAMILIES = {
    "Arab": "NotoSansArabic",
    "Beng": "NotoSansBengali",
    "Deva": "NotoSansDevanagari",
    "Hebr": "NotoSansHebrew",
    "Thai": "NotoSansThai",
    **dict.fromkeys(("Hans", "Hant", "Hani", "Jpan", "Kore"), "NotoSansCJK"),
}
ORDER = ("NotoSans", *dict.fromkeys(FAMILIES.values()), "NotoSansSymbols2", "NotoSansMath")


class FontUnusable(ValueError):
    """A file that is no font with outlines; says which."""


class Font:
    """A font with outlines; `name` is its full name, such as "Noto Sans Arabic Bold"."""

    def __init__(self, path: Path, index: int = 0) -> None:
        try:
            face = hb.Face(hb.Blob.from_file_path(str(path)), index)
        except (OSError, hb.HarfBuzzError) as error:
            raise FontUnusable(f"{path}: can't be read: {error}") from error
        tables = set(face.table_tags)
        if not tables & {"glyf", "CFF ", "CFF2"} or tables & {"COLR", "CBDT", "sbix", "SVG "}:
            raise FontUnusable(f"{path}: has no outlines of one colour")
        self.path, self.letters, self.units_per_em = path, face.unicodes, face.upem
        self.hb = hb.Font(face)
        names = hb.OTNameIdPredefined
        self.family = face.get_name(names.FONT_FAMILY) or path.stem
        self.name = face.get_name(names.FULL_NAME) or self.family
        self.weight = round(self.hb.get_style_value(hb.StyleTag.WEIGHT))

    def covers(self, text: str) -> bool:
        return all(ord(letter) in self.letters or is_ignorable(letter) for letter in text)


_Wish = tuple[Font | None, int, str]
"""A font, a weight and a family, of which there are so many: clients name whatever they like."""


def is_ignorable(letter: str) -> bool:
    """Controls that are read by a shaper and never seen: joiners, direction marks, variation
    selectors."""
    return unicodedata.category(letter) == "Cf" or 0xFE00 <= ord(letter) <= 0xFE0F


@dataclass(frozen=True, eq=False)
class Fonts:
    """A choice of fonts: `own` first, then the shipped ones, then what a shop has in folders that
    it shares, then what `folders` hold.

    Equal to itself only, so that what is shaped with it can be kept.
    """

    own: tuple[Font, ...] = ()
    folders: tuple[Path, ...] = SYSTEM
    shared: tuple[Path, ...] = ()
    _chains: dict[_Wish, tuple[Font, ...]] = field(default_factory=dict, repr=False)

    def find(self, name: str) -> Font | None:
        """By full name, or by family for its lightest face; not among `folders`, which differ from
        machine to machine."""
        wanted = name.casefold()
        known = (*self.own, *load_shipped(), *load_found(self.shared))
        by_name = [font for font in known if font.name.casefold() == wanted]
        by_family = [font for font in known if font.family.casefold() == wanted]
        return next(iter((*by_name, *sorted(by_family, key=lambda font: font.weight))), None)

    def name(self, language: str, weight: int) -> str:
        """The full name of the shipped font that has a language's own letters."""
        stem = FAMILIES.get(complete(language).script, ORDER[0])
        named = (font for font in load_shipped() if font.path.stem.startswith(f"{stem}-"))
        return min(named, key=lambda font: abs(font.weight - weight)).name

    def choose(self, letters: str, language: str, name: str = "") -> Font | None:
        """The first that has all of the letters: the named one, that of the language, any."""
        for font in self._chain(language, name):
            if font.covers(letters):
                return font
        for folders in (self.shared, self.folders):
            for font in load_found(folders):
                if font.covers(letters):
                    return font
        return None

    def _chain(self, language: str, name: str) -> tuple[Font, ...]:
        named = self.find(name)
        weight = named.weight if named else guess_weight(name)
        wish = named, weight, FAMILIES.get(complete(language).script, ORDER[0])
        if (known := self._chains.get(wish)) is None:
            known = self._chains[wish] = tuple(self._sort(*wish))
        return known

    def _sort(self, named: Font | None, weight: int, family: str) -> Iterator[Font]:
        if named:
            yield named
        places = {stem: place for place, stem in enumerate((family, *ORDER))}
        shipped = sorted(
            load_shipped(),
            key=lambda font: (
                abs(font.weight - weight),
                min(p for stem, p in places.items() if font.path.stem.startswith(f"{stem}-")),
            ),
        )
        yield from (font for font in (*self.own, *shipped) if font is not named)


def guess_weight(name: str) -> int:
    return BOLD if any(word in name.casefold() for word in ("bold", "black", "heavy")) else REGULAR


@lru_cache(maxsize=1)
def load_shipped() -> tuple[Font, ...]:
    return tuple(Font(path) for path in sorted(SHIPPED.glob("*.?tf")))


@lru_cache(maxsize=8)
def load_found(folders: tuple[Path, ...]) -> tuple[Font, ...]:
    """All usable fonts under these folders, sans-serif and bold ones first."""
    paths = [
        path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.?t?"))
    ]
    fonts = [font for path in paths for font in _open_all(path)]
    return tuple(
        sorted(fonts, key=lambda f: ("sans" not in f.name.casefold(), f.weight < 600, f.name))
    )


def _open_all(path: Path) -> Iterator[Font]:
    if path.suffix.lower() not in {".ttf", ".otf", ".ttc"}:
        return
    try:
        num_faces = hb.Face(hb.Blob.from_file_path(str(path))).count
        for index in range(num_faces):
            yield Font(path, index)
    except (FontUnusable, hb.HarfBuzzError, OSError):
        return


def load_fonts(
    paths: Sequence[Path], folders: tuple[Path, ...] = SYSTEM, shared: tuple[Path, ...] = ()
) -> Fonts:
    """A brand kit's own fonts before the shipped ones. Raises FontUnusable."""
    return Fonts(tuple(Font(path) for path in paths), folders, shared)
