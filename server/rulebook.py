"""What market, brand and shop say of a request, before anything is read or made for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from server.brand_kits import BrandKit, KitForbids, apply_kit
from server.core import ImageRequest, InlineProduct
from server.errors import InvalidRequest, Violation
from server.localization.markets import Markets
from server.localization.occasions import Occasion, UnknownMarket, localize, read_occasion
from server.localization.prices import format_price


@dataclass(frozen=True, slots=True)
class Agreement:
    """The request with the scene that is made in the end, and what is to be kept to on the way."""

    request: ImageRequest
    occasion: Occasion
    kit: BrandKit | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rulebook:
    """The files that a shop can edit, read once."""

    markets: Markets
    find_denied: Callable[[str], Sequence[str]]
    """Categories of the words of a text that are denied."""
    kits: Mapping[str, BrandKit] = field(default_factory=dict)
    house: BrandKit | None = None
    """What holds for requests that name no kit."""

    def agree(self, request: ImageRequest) -> Agreement:
        """Raises InvalidRequest naming what can't be agreed to."""
        kit = self._find_kit(request.brand_kit)
        self._check_words(request, kit)
        for name in ("price", "former_price"):
            _check_price(request, name)
        try:
            occasion = read_occasion(request.localization, request.locale, self.markets)
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
        return Agreement(
            replace(request, scene=localized.scene),
            occasion,
            kit,
            (*warnings, *localized.warnings),
        )

    def _find_kit(self, name: str) -> BrandKit | None:
        """Doors have looked before; but a batch may outlive a kit, and actors see no door."""
        if not name:
            return self.house
        if name not in self.kits:
            text = f"{name[:40]!r} is none of this server's brand kits"
            raise InvalidRequest(Violation("brand_kit", text))
        return self.kits[name]

    def _check_words(self, request: ImageRequest, kit: BrandKit | None) -> None:
        violations = []
        for name, text in _find_words(request):
            categories = set(self.find_denied(text))
            if kit is not None and kit.find_denied(text):
                categories.add(f"brand kit {kit.name}")
            if categories:
                told = ", ".join(sorted(categories))
                violations.append(Violation(name, f"has words that are denied: {told}"))
        if violations:
            raise InvalidRequest(*violations, reason="PROMPT_DENIED")


def _find_words(request: ImageRequest) -> list[tuple[str, str]]:
    """Every text of the request that gets into a picture or its prompt, by its field."""
    found = [
        ("scene.brief", request.scene.brief),
        ("caption.title_text", request.caption.title_text),
        ("caption.badge", request.caption.badge),
    ]
    if isinstance(request.product, InlineProduct):
        found.append(("inline_product.title", request.product.title))
        facts = " ".join(f"{k} {v}" for k, v in request.product.attributes.items())
        found.append(("inline_product.attributes", facts))
    if request.layout is not None:
        texts = enumerate(each.text for each in request.layout.elements)
        found += [(f"layout.elements[{number}].text", text) for number, text in texts]
    return [(name, text) for name, text in found if text]


def _check_price(request: ImageRequest, name: str) -> None:
    price = getattr(request.caption, name)
    try:
        if price is not None:
            format_price(price, request.locale)
    except ValueError as error:
        raise InvalidRequest(Violation(f"caption.{name}", str(error))) from error
