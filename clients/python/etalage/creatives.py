"""What a creative should look like, and what a server tells about it: frozen, without protobuf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

Palette = Literal["sand", "coral", "lemon", "mint", "sky", "lavender", "rose", "graphite"]
Setting = Literal["studio", "glow", "table", "pattern", "outdoor", "night", "shelf", "festive"]
Season = Literal["spring", "summer", "autumn", "winter"]
Placement = Literal["square", "story", "banner", "thumbnail"]
CachePolicy = Literal["use", "refresh", "bypass"]


@dataclass(frozen=True)
class Scene:
    """What surrounds the product; what is left out is the shopper's taste's, or the model's.

    `brief` says in words what the creative is about, `avoided` what must not be seen.
    """

    palette: Palette | None = None
    setting: Setting | None = None
    season: Season | None = None
    brief: str = ""
    avoided_palettes: Sequence[Palette] = ()
    avoided_settings: Sequence[Setting] = ()
    avoided: str = ""


@dataclass(frozen=True)
class Localization:
    """For which market, such as "BR", and for which day; left out: that of the locale, and today.

    With `occasion` season and festivals of market and day choose what the scene leaves open.
    """

    market: str = ""
    day: date | None = None
    occasion: bool = False


@dataclass(frozen=True)
class Price:
    """An amount of money in an ISO 4217 currency; text such as "12.50" is an amount too."""

    amount: Decimal | str | int
    currency: str


@dataclass(frozen=True)
class Caption:
    """What is written over the picture; `title` may be a text in place of the product's own, and
    `label` says that artificial intelligence made it."""

    title: bool | str = False
    price: Price | None = None
    former_price: Price | None = None
    badge: str = ""
    label: bool = False


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels from the upper left corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class TextStyle:
    """Colours are "#rrggbb"; `background` also "#rrggbbaa", and empty for none."""

    font: str
    size: float
    colour: str
    background: str = ""
    is_right_to_left: bool = False
    language: str = ""


@dataclass(frozen=True)
class Element:
    """One thing on a picture: "product", "title", "price", "former_price", "badge" or "logo"."""

    kind: str
    box: Box
    text: str = ""
    style: TextStyle | None = None


@dataclass(frozen=True)
class Layout:
    """What was set over a picture and where. A request that brings one gets it drawn exactly so."""

    width: int
    height: int
    safe_area: Box
    elements: tuple[Element, ...] = ()
    is_mirrored: bool = False


@dataclass(frozen=True)
class Fidelity:
    """How true an image is to its product; None where the product was drawn anew.

    `max_difference` inside the product is in 1/255, and 0 where its own pixels were pasted back;
    `growth_percent` is product outside its mask, in % of the mask. `mask_source` is what told the
    mask: "alpha", "given", "plain_ground", "matting", "whole_picture", or "" where nothing is said.
    """

    max_difference: int | None
    growth_percent: float | None
    mask_uncertainty: float
    sharpness: float
    mask_source: str = ""


@dataclass(frozen=True)
class Try:
    """An image that was not good enough, such as for "product_grew" or "blank"."""

    seed: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Influence:
    """How much one input moved an image: its signed share of the whole, and the size of the change
    without it in 1/255."""

    input: str
    description: str
    share: float
    change: float


@dataclass(frozen=True)
class Explanation:
    """Why an image looks as it does; `shopper_map` is a PNG of where the shopper acted."""

    influences: tuple[Influence, ...]
    text: str
    sigma: float
    shopper_effect: float
    shopper_map: bytes = field(default=b"", repr=False)
