"""Captions in many languages over pictures that make it hard."""

from datetime import date
from typing import Any

import numpy as np

from server.creative import Box, Caption, Kind, Placement, Price
from server.imaging.layout import arrange
from server.imaging.placements import find_preset
from server.localization.occasions import Occasion
from server.localization.titles import Title

SIZES = {
    Placement.SQUARE: (400, 400),
    Placement.STORY: (288, 512),
    Placement.BANNER: (768, 256),
    Placement.THUMBNAIL: (256, 256),
    None: (320, 400),
}
TITLES = {
    "en": "Leather shoulder bag",
    "ru": "Кожаная сумка ручной работы",
    "ar": "حقيبة كتف جلدية iPhone 15",
    "he": "תיק עור בעבודת יד",
    "hi": "हस्तनिर्मित चमड़े का शोल्डर बैग",
    "th": "กระเป๋าสะพายข้างหนังแท้",
    "zh": "女士真皮手工单肩包",
    "ja": "女性用の本革ショルダーバッグ",
    "ko": "여성용 천연 가죽 숄더백",
}
WORDS = {Kind.TITLE, Kind.PRICE, Kind.FORMER_PRICE, Kind.BADGE}
FROM_RIGHT = {"ar", "he"}


def occasion(language):
    return Occasion(language, "001", date(2026, 6, 1), is_right_to_left=language in FROM_RIGHT)


def noise(size, low=0, high=256, seed=0):
    """The worst that can be behind letters."""
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (size[1], size[0], 3), dtype=np.uint8)


def wall(size, colour=(236, 220, 195)):
    return np.full((size[1], size[0], 3), colour, np.uint8)


def caption(**changes):
    told: dict[str, Any] = {
        "title": True,
        "price": Price("EUR", 129),
        "former_price": Price("EUR", 159),
        "badge": "-20 %",
    }
    return Caption(**(told | changes))


def find_product(placement, language="en"):
    width, height = SIZES[placement]
    preset = find_preset(placement, width, height)
    box = preset.find_product_box(width, height, language in FROM_RIGHT)
    return Box(box.left + 0.1 * box.width, box.top, 0.8 * box.width, box.height)


def arrange_caption(language="en", placement=Placement.SQUARE, pixels=None, kit=None, **changes):
    text = changes.pop("text", TITLES[language])
    product = changes.pop("product", find_product(placement, language))
    picture = wall(SIZES[placement]) if pixels is None else pixels
    title = Title(text, language)
    told = caption(**changes)
    return arrange(picture, told, title, occasion(language), placement, kit, product)


def by_kind(layout):
    return {element.kind: element for element in layout.elements}


def overlaps(box, other):
    return (
        box.left < other.right - 1e-6
        and other.left < box.right - 1e-6
        and box.top < other.bottom - 1e-6
        and other.top < box.bottom - 1e-6
    )


def contains(outer, box):
    return (
        box.left >= outer.left - 1e-6
        and box.top >= outer.top - 1e-6
        and box.right <= outer.right + 1e-6
        and box.bottom <= outer.bottom + 1e-6
    )
