"""Scenes, markets, captions and layouts as messages. Raises TypeError or ValueError on what no
message can hold."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from etalage.creatives import Box, Caption, Element, Layout, Localization, Price, Scene
from etalage.v1 import layouts_pb2, scenes_pb2

_NANOS = 1_000_000_000


def build_scene(scene: Scene) -> scenes_pb2.Scene:
    return scenes_pb2.Scene(
        palette=_number("PALETTE", scene.palette),
        setting=_number("SETTING", scene.setting),
        season=_number("SEASON", scene.season),
        brief=scene.brief,
        avoided_palettes=[_number("PALETTE", word) for word in scene.avoided_palettes],
        avoided_settings=[_number("SETTING", word) for word in scene.avoided_settings],
        avoided=scene.avoided,
    )


def build_localization(told: Localization) -> layouts_pb2.Localization:
    message = layouts_pb2.Localization(market=told.market, occasion=told.occasion)
    if told.day is not None:
        message.time.FromDatetime(datetime.combine(told.day, datetime.min.time(), UTC))
    return message


def build_caption(caption: Caption) -> layouts_pb2.Caption:
    is_text = isinstance(caption.title, str)
    message = layouts_pb2.Caption(
        title=not is_text and bool(caption.title),
        title_text=caption.title if is_text else "",  # type: ignore[arg-type]
        badge=caption.badge,
        label=caption.label,
    )
    for name in ("price", "former_price"):
        if (price := getattr(caption, name)) is not None:
            getattr(message, name).CopyFrom(build_price(price))
    return message


def build_price(price: Price) -> layouts_pb2.Price:
    try:
        billionths = Decimal(price.amount) * _NANOS
        if billionths != (whole := int(billionths)):
            raise ValueError(f"{price.amount} has more than nine decimals")
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"{price.amount!r} is no amount") from error
    units, nanos = divmod(abs(whole), _NANOS)
    sign = -1 if whole < 0 else 1
    return layouts_pb2.Price(currency_code=price.currency, units=sign * units, nanos=sign * nanos)


def build_layout(layout: Layout) -> layouts_pb2.Layout:
    return layouts_pb2.Layout(
        width=layout.width,
        height=layout.height,
        safe_area=_box(layout.safe_area),
        elements=map(_element, layout.elements),
        is_mirrored=layout.is_mirrored,
    )


def _element(element: Element) -> layouts_pb2.Layout.Element:
    kinds = layouts_pb2.Layout.Kind
    message = layouts_pb2.Layout.Element(
        kind=_find(kinds, "KIND", element.kind), box=_box(element.box), text=element.text
    )
    if (style := element.style) is not None:
        message.style.CopyFrom(
            layouts_pb2.TextStyle(
                font=style.font,
                size=style.size,
                colour=style.colour,
                background=style.background,
                is_right_to_left=style.is_right_to_left,
                language=style.language,
            )
        )
    return message


def _box(box: Box) -> layouts_pb2.Box:
    return layouts_pb2.Box(left=box.left, top=box.top, width=box.width, height=box.height)


def _number(prefix: str, word: str | None) -> Any:
    enum = {
        "PALETTE": scenes_pb2.Palette,
        "SETTING": scenes_pb2.Setting,
        "SEASON": scenes_pb2.Season,
    }[prefix]
    return 0 if word is None else _find(enum, prefix, word)


def _find(enum: Any, prefix: str, word: str) -> Any:
    known = {name.removeprefix(f"{prefix}_").lower(): number for name, number in enum.items()}
    known.pop("unspecified")
    if word not in known:
        raise ValueError(f"{word!r} is none of {', '.join(known)}")
    return known[word]
