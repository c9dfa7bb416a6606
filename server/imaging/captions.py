"""What is to be written, in the order in which it is looked for room: prices, badge, title."""

from __future__ import annotations

from dataclasses import dataclass

from server.brand_kits import BrandKit
from server.creative import Caption, Kind
from server.imaging.placements import Preset
from server.imaging.text.fonts import BOLD, REGULAR, Fonts
from server.imaging.text.lettering import MissingGlyphs, prepare
from server.imaging.text.typesetting import Voice
from server.localization.occasions import Occasion
from server.localization.prices import format_price
from server.localization.titles import Title

SHIPPED_FONTS = Fonts()


@dataclass(frozen=True, slots=True)
class Words:
    """A text that can be set, and how."""

    kind: Kind
    text: str
    voice: Voice


def write_words(
    caption: Caption, title: Title, occasion: Occasion, kit: BrandKit | None, preset: Preset
) -> tuple[dict[Kind, Words], list[str]]:
    """What a placement has of a caption, and warnings of what had to be left out.

    Raises ValueError for a currency or an amount that is none.
    """
    fonts = kit.typefaces if kit else SHIPPED_FONTS
    language = occasion.language
    wanted: list[tuple[Kind, str, str]] = []
    if caption.price:
        wanted.append((Kind.PRICE, format_price(caption.price, language), language))
        if caption.former_price:
            former = format_price(caption.former_price, language)
            wanted.append((Kind.FORMER_PRICE, former, language))
    if caption.badge:
        wanted.append((Kind.BADGE, caption.badge, language))
    if caption.title_text:
        wanted.append((Kind.TITLE, caption.title_text, language))
    elif caption.title:
        wanted.append((Kind.TITLE, title.text, title.language))
    words: dict[Kind, Words] = {}
    warnings: list[str] = []
    for kind, text, language in wanted:
        if not preset.has_title and (kind is Kind.TITLE or (kind is Kind.BADGE and caption.price)):
            warnings.append(f"the {name(kind)} is left out: the placement has no room for it")
            continue
        font = choose_font(kind, language, kit)
        try:
            lettering = prepare(text, language, fonts, font)
        except MissingGlyphs as error:
            warnings.append(f"the {name(kind)} is left out: {error}")
            continue
        if lettering.left_out:
            warnings.append(f"the {name(kind)} is set without {lettering.left_out}")
        if lettering.text:
            words[kind] = Words(kind, lettering.text, Voice(fonts, font, language))
    return words, warnings


def name(kind: Kind) -> str:
    return kind.value.replace("_", " ")


def choose_font(kind: Kind, language: str, kit: BrandKit | None) -> str:
    """Its full name: the kit's, else what is shipped for the language."""
    is_strong = kind not in (Kind.FORMER_PRICE, Kind.LABEL)
    own = kit.fonts if kit else None
    if own and (own.title or own.text):
        return own.title or own.text if is_strong else own.text or own.title
    return SHIPPED_FONTS.name(language, BOLD if is_strong else REGULAR)
