"""From the page's JSON to the client's options. What it does not know is refused by name; whether a
value makes sense is for the server to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, cast

from etalage import Caption, InvalidArgument, Item, Localization, Price, Scene, Violation
from etalage.requests import ImageOptions

MAX_ITEMS = 100
"""Of a slate or a batch: this page is for trying, `etalage batches` for work."""

_KNOWN = ImageOptions.__annotations__.keys() - {"layout", "request_id"}


def read_product(wanted: Mapping[str, Any]) -> str:
    return cast(str, _check(wanted.get("product"), str, "product"))


def read_options(wanted: Mapping[str, Any]) -> ImageOptions:
    """All but `product`. Raises InvalidArgument."""
    told = {name: value for name, value in wanted.items() if name != "product"}
    if unknown := sorted(told.keys() - _KNOWN):
        raise refuse(unknown[0], "is no option of an image")
    for name, build in _PARTS.items():
        if name in told:
            told[name] = _read_part(name, build, told[name])
    return cast(ImageOptions, told)


def read_products(wanted: Mapping[str, Any]) -> list[str]:
    products = _check(wanted.get("products"), list, "products")
    return [_check(each, str, "products") for each in _bound(products, "products")]


def read_items(wanted: Mapping[str, Any]) -> list[Item]:
    items = _bound(_check(wanted.get("items"), list, "items"), "items")
    told = [_check(each, dict, "items") for each in items]
    return [Item(read_product(each), **read_options(each)) for each in told]


def refuse(field: str, description: str) -> InvalidArgument:
    return InvalidArgument(
        f"{field}: {description}",
        code="INVALID_ARGUMENT",
        reason="INVALID_REQUEST",
        violations=(Violation(field, description),),
    )


def _bound(some: list[Any], field: str) -> list[Any]:
    if not 1 <= len(some) <= MAX_ITEMS:
        raise refuse(field, f"{len(some)} is not 1 to {MAX_ITEMS}")
    return some


def _check(value: Any, kind: type, field: str) -> Any:
    if not isinstance(value, kind):
        raise refuse(field, f"expected a {kind.__name__}")
    return value


def _read_part(name: str, build: Callable[..., Any], value: Any) -> Any:
    try:
        return build(**_check(value, dict, name))
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidArgument):
            raise
        raise refuse(name, str(error)) from error


def _build_localization(day: str = "", **told: Any) -> Localization:
    return Localization(day=date.fromisoformat(day) if day else None, **told)


def _build_caption(price: Any = None, former_price: Any = None, **told: Any) -> Caption:
    return Caption(price=_build_price(price), former_price=_build_price(former_price), **told)


def _build_price(told: Any) -> Price | None:
    return None if told is None else Price(**told)


_PARTS: Mapping[str, Callable[..., Any]] = {
    "scene": Scene,
    "localization": _build_localization,
    "caption": _build_caption,
}
