"""BCP 47 tags, completed by CLDR's likely subtags."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.core import get_global, parse_locale

UNKNOWN = "und"
# CLDR's supplemental data has the first as an alias of the second; Babel leaves some of them out.
ALIASES = {"no": "nb", "in": "id", "ji": "yi", "cmn": "zh", "zh-min-nan": "nan"}
# Registered before there were such codes (RFC 5646, section 2.2.8).
ALIASES |= {f"i-{code}": code for code in ("ami", "bnn", "hak", "pwn", "tao", "tay", "tsu")}
ALIASES |= {"i-klingon": "tlh", "i-lux": "lb", "i-navajo": "nv"}


@dataclass(frozen=True, slots=True)
class Tag:
    """Language "zh", script "Hant", region "TW"; empty where nothing is known."""

    language: str
    script: str = ""
    region: str = ""

    def __str__(self) -> str:
        return "-".join(part for part in (self.language, self.script, self.region) if part)


@lru_cache(maxsize=4096)
def read_tag(tag: str) -> Tag:
    """The tag as it was written, with aliases resolved; `und` where it is no BCP 47 tag.

    Variants, extensions and private use are left out: no title and no custom depends on them here.
    A language that is written as an extension of another stands for itself (RFC 5646, section 4.5).
    """
    parts = _resolve(tag.replace("_", "-")).split("-")
    private = next((place for place, part in enumerate(parts) if len(part) == 1), len(parts))
    parts = parts[:private]
    if len(parts) > 1 and len(parts[1]) == 3 and parts[1].isalpha():
        parts = [*_resolve(parts[1]).split("-"), *(part for part in parts[2:] if len(part) != 3)]
    while parts:
        with suppress(ValueError):
            language, region, script, *_ = parse_locale("-".join(parts), sep="-")
            other, _, other_script = _resolve(language).partition("-")
            return Tag(other, script or other_script, region or "")
        parts.pop()
    return Tag(UNKNOWN)


def _resolve(tag: str) -> str:
    """What an old tag is called now, in lower case where it is a language alone."""
    name = tag.lower()
    if found := ALIASES.get(name):
        return found
    newer = get_global("language_aliases").get(name)
    return str(newer).replace("_", "-") if newer else (name if "-" not in name else tag)


@lru_cache(maxsize=4096)
def complete(tag: str) -> Tag:
    """The tag with the script and region that are likely for it: zh-TW is zh-Hant-TW.

    "Add likely subtags" of Unicode Technical Standard 35, part 1, section 4.3.
    """
    own = read_tag(tag)
    likely = get_global("likely_subtags")
    parts = (own.language, own.script, own.region)
    for wanted in (parts, (parts[0], "", parts[2]), (parts[0], parts[1], ""), (parts[0], "", "")):
        if found := likely.get("_".join(part for part in wanted if part)):
            filled = (*found.split("_"), "", "")[:3]
            language = filled[0] if own.language == UNKNOWN else own.language
            return Tag(language, own.script or filled[1], own.region or filled[2])
    return own


def find_parent(tag: str) -> str:
    """The tag whose words serve where this one has none: es-MX has es-419, that has es; "" is
    the root."""
    exceptions = get_global("parent_exceptions")
    parent = exceptions.get(tag.replace("-", "_"))
    if parent is not None:
        return "" if parent == "root" else str(parent).replace("_", "-")
    return tag.rpartition("-")[0]


def is_right_to_left(tag: str) -> bool:
    return complete(tag).script in {"Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg"}


@lru_cache(maxsize=1024)
def find_locale(tag: str) -> Locale:
    """CLDR's data for the tag, or for the nearest that there is; English for an unknown one."""
    own, full = read_tag(tag), complete(tag)
    wanted = (
        (own.language, own.script, own.region),
        (full.language, full.script, full.region),
        (own.language, "", own.region),
        (full.language, full.script, ""),
        (own.language, "", ""),
    )
    for parts in wanted:
        try:
            return Locale.parse("_".join(part for part in parts if part))
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")


@lru_cache(maxsize=1)
def known_regions() -> frozenset[str]:
    """ISO 3166 countries and UN M49 areas that CLDR knows."""
    return frozenset(str(code) for code in Locale("en").territories if code != "ZZ")
