"""What a creative may be asked to look like, and what is told about it, as frozen nouns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum

from diffusion.cutout import MaskSource


@dataclass(frozen=True, slots=True)
class Localization:
    """`market` is a country or area such as "BR" or "419", empty for that of the locale; a `day` of
    None is today. Market and day choose what a scene leaves open where `occasion` is set."""

    market: str = ""
    day: date | None = None
    occasion: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """An amount of money: ISO 4217 code, whole units and billionths."""

    currency: str
    units: int
    nanos: int = 0


@dataclass(frozen=True, slots=True)
class Caption:
    """What is written over the picture; `title_text` in place of the product's own title.
    `label` says that a machine made it."""

    title: bool = False
    title_text: str = ""
    price: Price | None = None
    former_price: Price | None = None
    badge: str = ""
    label: bool = False

    @property
    def is_empty(self) -> bool:
        words = self.title or self.title_text or self.price or self.badge
        return not (words or self.label)


class Placement(Enum):
    """Where a creative is shown."""

    SQUARE = "square"
    STORY = "story"
    BANNER = "banner"
    THUMBNAIL = "thumbnail"


class Kind(Enum):
    """What an element of a layout is."""

    PRODUCT = "product"
    TITLE = "title"
    PRICE = "price"
    FORMER_PRICE = "former_price"
    BADGE = "badge"
    LOGO = "logo"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels from the upper left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class TextStyle:
    """Colours are "#rrggbb", `background` also "#rrggbbaa", empty for none; `size` is in pixels."""

    font: str
    size: float
    colour: str
    background: str = ""
    is_right_to_left: bool = False
    language: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """One thing on a picture; `text` has its line breaks as set."""

    kind: Kind
    box: Box
    text: str = ""
    style: TextStyle | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """What is set over a picture of `width` x `height` pixels, from below to above."""

    width: int
    height: int
    safe_area: Box
    elements: tuple[Element, ...] = ()
    is_mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How true a picture is to its product; None where the product was drawn anew.

    `max_difference` in codes inside the eroded mask, `growth_percent` of the mask's area,
    `mask_uncertainty` the share of undecided alpha, `sharpness` the variance of the Laplacian.
    `mask_source` is None where there is no packshot.
    """

    max_difference: int | None
    growth_percent: float | None
    mask_uncertainty: float
    sharpness: float
    mask_source: MaskSource | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """An image that was not good enough."""

    seed: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Influence:
    """How much one input moved an image: its signed share of the whole move, and the size of the
    change without it, root mean square over pixels in 1/255."""

    input: str
    description: str
    share: float
    change: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """`shopper_map` is a grey PNG of where the shopper acted, of this width and height in pixels,
    empty where none did."""

    influences: tuple[Influence, ...]
    text: str
    sigma: float
    shopper_effect: float
    shopper_map: bytes = b""
    map_width: int = 0
    map_height: int = 0
