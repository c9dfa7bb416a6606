"""Finds wrong fields of what a creative should look like: scene, market, caption, layout.

Whether a scene can be made, a market is known or a text may be written is found by those who know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from etalage.v1 import images_pb2 as pb
from etalage.v1 import layouts_pb2, scenes_pb2
from server.doors.fields import Violations, check_enum, check_number, check_text
from server.errors import Violation

MAX_BRIEF = 1000
MAX_TITLE_TEXT = 200
MAX_BADGE = 40
MAX_ELEMENTS = 32
MAX_ELEMENT_TEXT = 400
MAX_PICTURE = 4096

_MARKET = re.compile(r"[A-Za-z]{2}|[0-9]{3}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
_BACKGROUND = re.compile(r"(#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?)?", re.ASCII)


def check_wishes(
    request: pb.GenerateImageRequest, at: str = "", brand_kits: Collection[str] = ()
) -> Violations:
    yield from check_scene(request, f"{at}scene.")
    yield from check_number(request, "diversity", 0, 1, at)
    if (market := request.localization.market) and not _MARKET.fullmatch(market):
        text = f"{market[:20]!r} is no country of two letters or area of three digits"
        yield Violation(f"{at}localization.market", text)
    yield from check_moment(request.localization.time, f"{at}localization.time")
    yield from check_caption(request.caption, f"{at}caption.")
    yield from check_enum(request, "placement", at)
    if request.placement and request.output.HasField("aspect_ratio"):
        yield Violation(f"{at}output.aspect_ratio", "must be unset: the placement says it")
    if request.HasField("layout"):
        yield from check_layout(request.layout, f"{at}layout.")
        if not request.caption == layouts_pb2.Caption():
            yield Violation(f"{at}caption", "must be unset: the layout has its texts")
    if request.brand_kit and request.brand_kit not in brand_kits:
        known = ", ".join(brand_kits) or "it has none"
        text = f"{request.brand_kit[:40]!r} is none of this server's brand kits: {known}"
        yield Violation(f"{at}brand_kit", text)
    yield from check_number(request, "max_tries", 1, 5, at)
    yield from check_enum(request, "cache_policy", at)


def check_moment(time: Timestamp, field: str) -> Violations:
    """Parsing lets any number of seconds through, and nanoseconds below zero."""
    try:
        time.ToDatetime()
    except ValueError:
        yield Violation(field, "is no moment of the years 1 to 9999")


def check_scene(request: pb.GenerateImageRequest, at: str) -> Violations:
    scene = request.scene
    for field in ("palette", "setting", "season"):
        yield from check_enum(scene, field, at)
    for field in ("brief", "avoided"):
        yield from check_text(getattr(scene, field), MAX_BRIEF, f"{at}{field}")
    if scene.brief and not scene.brief.strip():
        yield Violation(f"{at}brief", "is nothing but spaces")
    yield from _check_avoided(
        "palette", scene.palette, scene.avoided_palettes, scenes_pb2.Palette.DESCRIPTOR, at
    )
    yield from _check_avoided(
        "setting", scene.setting, scene.avoided_settings, scenes_pb2.Setting.DESCRIPTOR, at
    )


def _check_avoided(
    name: str, wished: int, avoided: Collection[int], enum: object, at: str
) -> Violations:
    field, known = f"{at}avoided_{name}s", set(getattr(enum, "values_by_number", ()))
    for index, number in enumerate(avoided):
        if number not in known or number == 0:
            yield Violation(f"{field}[{index}]", f"{number} is no {name.capitalize()}")
    if wished and wished in avoided:
        yield Violation(field, f"has the {name} that is asked for")
    if set(avoided) >= known - {0}:
        yield Violation(field, f"leaves no {name}")


def check_caption(caption: layouts_pb2.Caption, at: str) -> Violations:
    yield from check_text(caption.title_text, MAX_TITLE_TEXT, f"{at}title_text")
    yield from check_text(caption.badge, MAX_BADGE, f"{at}badge")
    for field in ("price", "former_price"):
        if caption.HasField(field):
            yield from check_price(getattr(caption, field), f"{at}{field}.")
    if caption.HasField("former_price"):
        if not caption.HasField("price"):
            yield Violation(f"{at}former_price", "needs a price beside it")
        elif caption.former_price.currency_code != caption.price.currency_code:
            yield Violation(f"{at}former_price.currency_code", "is not that of the price")


def check_price(price: layouts_pb2.Price, at: str) -> Violations:
    if not _CURRENCY.fullmatch(price.currency_code):
        text = f"{price.currency_code[:20]!r} is no ISO 4217 code such as 'EUR'"
        yield Violation(f"{at}currency_code", text)
    if price.units < 0:
        yield Violation(f"{at}units", f"is {price.units}; must not be negative")
    if not 0 <= price.nanos < 1_000_000_000:
        yield Violation(f"{at}nanos", f"is {price.nanos}; must be from 0 to 999999999")


def check_layout(layout: layouts_pb2.Layout, at: str) -> Violations:
    for field in ("width", "height"):
        if not 1 <= getattr(layout, field) <= MAX_PICTURE:
            text = f"is {getattr(layout, field)}; must be from 1 to {MAX_PICTURE}"
            yield Violation(f"{at}{field}", text)
    if len(layout.elements) > MAX_ELEMENTS:
        text = f"has {len(layout.elements)} elements; at most {MAX_ELEMENTS} are allowed"
        yield Violation(f"{at}elements", text)
        return
    for index, element in enumerate(layout.elements):
        yield from _check_element(element, layout, f"{at}elements[{index}].")


def _check_element(
    element: layouts_pb2.Layout.Element, layout: layouts_pb2.Layout, at: str
) -> Iterator[Violation]:
    if not element.kind:
        yield Violation(f"{at}kind", "is required")
    yield from check_enum(element, "kind", at)
    box = element.box
    sides = box.left, box.top, box.width, box.height
    if not all(map(math.isfinite, sides)) or box.width <= 0 or box.height <= 0:
        yield Violation(f"{at}box", "must be finite, with a width and a height")
    elif (
        min(box.left, box.top) < 0
        or box.left + box.width > layout.width + 1
        or box.top + box.height > layout.height + 1
    ):
        yield Violation(f"{at}box", "leaves the picture")
    yield from check_text(element.text, MAX_ELEMENT_TEXT, f"{at}text")
    style = element.style
    if element.text and not element.HasField("style"):
        yield Violation(f"{at}style", "is required where there is a text")
    if element.HasField("style"):
        if not (math.isfinite(style.size) and 1 <= style.size <= MAX_PICTURE):
            yield Violation(f"{at}style.size", f"must be from 1 to {MAX_PICTURE}")
        if not _COLOUR.fullmatch(style.colour):
            yield Violation(f"{at}style.colour", "is no colour such as '#1c1c1e'")
        if not _BACKGROUND.fullmatch(style.background):
            yield Violation(f"{at}style.background", "is no colour such as '#ffffffcc'")
