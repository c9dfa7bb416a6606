"""What market, brand and shop say of a request, before anything is read or made for it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from cachetools import LRUCache

from server.brand_kits import BrandKit, KitForbids, apply_kit
from server.core import ImageRequest, InlineProduct
from server.creative import Kind, Localization
from server.errors import InvalidRequest, Violation
from server.localization.labels import Labels
from server.localization.markets import Markets
from server.localization.occasions import Occasion, UnknownMarket, localize, read_occasion
from server.localization.prices import format_price
from server.localization.titles import Title
from server.safety import DeniedWords

MAX_OCCASIONS = 4096


@dataclass(frozen=True, slots=True)
class Agreement:
    """The request with the scene that is made in the end, and what is to be kept to on the way."""

    request: ImageRequest
    occasion: Occasion
    kit: BrandKit | None = None
    warnings: tuple[str, ...] = ()
    label: Title | None = None
    """What is written on what a machine made, if it is to be."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a field of a request says, and whether that is what the product is called."""

    field: str
    text: str
    is_of_product: bool = False


class WordsObserver(Protocol):
    def denied(self, category: str) -> None:
        """A text was refused for words of that category."""


@dataclass(frozen=True)
class Rulebook:
    """The files that a shop can edit, read once."""

    markets: Markets
    denied: DeniedWords
    kits: Mapping[str, BrandKit] = field(default_factory=dict)
    house: BrandKit | None = None
    """What holds for requests that name no kit."""
    labels: Labels | None = None
    is_label_due: bool = False
    """Whether every creative says what made it, asked or not."""
    observer: WordsObserver | None = None
    _occasions: LRUCache[Hashable, Occasion] = field(
        default_factory=lambda: LRUCache(MAX_OCCASIONS), repr=False, compare=False
    )

    def agree(self, request: ImageRequest) -> Agreement:
        """Raises InvalidRequest naming what can't be agreed to."""
        kit = self._find_kit(request.brand_kit)
        self._check_words(_find_texts(request), kit)
        for name in ("price", "former_price"):
            _check_price(request, name)
        try:
            occasion = self._find_occasion(request.localization, request.locale)
        except UnknownMarket as error:
            raise InvalidRequest(Violation("localization.market", str(error))) from error
        scene, warnings = request.scene, list(occasion.warnings)
        if kit is not None:
            try:
                scene = apply_kit(scene, kit)
            except KitForbids as error:
                raise InvalidRequest(
                    Violation("scene", str(error)), reason="KIT_FORBIDS"
                ) from error
        localized = localize(scene, occasion, request.localization)
        caption, label = request.caption, None
        if self.labels is not None and (self.is_label_due or caption.label):
            caption, label = replace(caption, label=True), self.labels.find(request.locale)
        return Agreement(
            replace(request, scene=localized.scene, caption=caption),
            occasion,
            kit,
            (*warnings, *localized.warnings),
            label,
        )

    def check_title(self, title: str, agreed: Agreement) -> None:
        """The one of the catalogue that gets into the picture or its prompt. Raises InvalidRequest:
        those that requests bring have been checked before."""
        if isinstance(agreed.request.product, str):
            self._check_words([Text("product_id", title, True)], agreed.kit, "its title ")

    def _find_occasion(self, localization: Localization, locale: str) -> Occasion:
        """Of a market and a language once a day. Raises UnknownMarket."""
        day = localization.day or datetime.now(UTC).date()
        key = localization.market, locale, day
        if (known := self._occasions.get(key)) is None:
            known = read_occasion(replace(localization, day=day), locale, self.markets)
            self._occasions[key] = known
        return known

    def _find_kit(self, name: str) -> BrandKit | None:
        """Doors have looked before; but a batch may outlive a kit, and actors see no door."""
        if not name:
            return self.house
        if name not in self.kits:
            text = f"{name[:40]!r} is none of this server's brand kits"
            raise InvalidRequest(Violation("brand_kit", text))
        return self.kits[name]

    def _check_words(self, texts: Iterable[Text], kit: BrandKit | None, whose: str = "") -> None:
        violations = []
        for each in texts:
            found = self.denied.find_categories(each.text, is_of_product=each.is_of_product)
            categories = set(found)
            if kit is not None and kit.find_denied(each.text):
                categories.add(f"brand kit {kit.name}")
            if categories:
                told = f"{whose}has words that are denied: {', '.join(sorted(categories))}"
                violations.append(Violation(each.field, told))
            if self.observer is not None:
                for category in categories:
                    self.observer.denied(category)
        if violations:
            raise InvalidRequest(*violations, reason="PROMPT_DENIED")


def _find_texts(request: ImageRequest) -> Iterator[Text]:
    """All that the request brings into a picture or its prompt."""
    yield Text("scene.brief", request.scene.brief)
    yield Text("caption.title_text", request.caption.title_text, True)
    yield Text("caption.badge", request.caption.badge)
    if isinstance(request.product, InlineProduct):
        yield Text("inline_product.title", request.product.title, True)
        facts = " ".join(f"{k} {v}" for k, v in request.product.attributes.items())
        yield Text("inline_product.attributes", facts, True)
    if request.layout is not None:
        for number, each in enumerate(request.layout.elements):
            yield Text(f"layout.elements[{number}].text", each.text, each.kind is Kind.TITLE)


def _check_price(request: ImageRequest, name: str) -> None:
    price = getattr(request.caption, name)
    try:
        if price is not None:
            format_price(price, request.locale)
    except ValueError as error:
        raise InvalidRequest(Violation(f"caption.{name}", str(error))) from error
