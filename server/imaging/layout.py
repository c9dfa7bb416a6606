"""Where a caption goes: beside, above and below the product, never over it.

Everything is found for lines that begin at the left. For scripts from the right the picture and
the product's box are mirrored before and the boxes after; pixels are only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from server.brand_kits import BrandKit
from server.core import Pixels
from server.creative import Box, Caption, Element, Kind, Layout, Placement
from server.imaging.captions import Words, name, write_words
from server.imaging.dressing import Dresser
from server.imaging.placements import find_preset
from server.imaging.zones import WORD_GAP, Placed, Scale, Setter, Zone, move
from server.localization.occasions import Occasion
from server.localization.titles import Title

# Shares of the picture's shorter side. The smallest are about 13 px where that is 400.
STACKED: Mapping[Kind, Scale] = {
    Kind.PRICE: Scale(0.075, 0.036),
    Kind.FORMER_PRICE: Scale(0.042, 0.034),
    Kind.BADGE: Scale(0.046, 0.034, max_lines=2),
    Kind.TITLE: Scale(0.08, 0.042, max_lines=3, may_shorten=True),
}
TALL: Mapping[Kind, Scale] = {
    **STACKED,
    Kind.PRICE: Scale(0.09, 0.036),
    Kind.FORMER_PRICE: Scale(0.052, 0.034),
    Kind.TITLE: Scale(0.1, 0.05, max_lines=4, may_shorten=True),
}
BESIDE: Mapping[Kind, Scale] = {
    Kind.PRICE: Scale(0.13, 0.06),
    Kind.FORMER_PRICE: Scale(0.075, 0.055),
    Kind.BADGE: Scale(0.07, 0.055),
    Kind.TITLE: Scale(0.17, 0.068, max_lines=3, may_shorten=True),
}
PRODUCT_GAP = 0.03
STACKED_GAP, BESIDE_GAP = 0.035, 0.065  # between rows
WIDE = 1.5  # from this aspect ratio on they do
NARROW = 0.8  # up to this one there is room for a badge above the title
BADGE_SHARE, LOGO_SHARE = 0.42, 0.38  # of a row's width, at most
PRICES = (Kind.PRICE, Kind.FORMER_PRICE)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A layout, and what had to be left out of it."""

    layout: Layout
    warnings: tuple[str, ...] = ()


def arrange(
    pixels: Pixels,
    caption: Caption,
    title: Title,
    occasion: Occasion,
    placement: Placement | None = None,
    kit: BrandKit | None = None,
    product_box: Box | None = None,
) -> Arrangement:
    """A layout for the creative [height, width, 3]; a `product_box` of None is the preset's.

    Raises ValueError for a price that is none.
    """
    height, width = pixels.shape[:2]
    mirrored = occasion.is_right_to_left
    preset = find_preset(placement, width, height)
    words, warnings = write_words(caption, title, occasion, kit, preset)
    product = product_box or preset.find_product_box(width, height, mirrored)
    safe = preset.find_safe_area(width, height, mirrored)
    scene, inner, beside = pixels, safe, product
    if mirrored:
        scene, inner, beside = pixels[:, ::-1], mirror(safe, width), mirror(product, width)
    setter, plan_zones = _choose_plan(words, width, height)
    logo = kit if preset.has_logo else None
    plan = plan_zones(setter, inner, beside, logo)
    elements = _dress(plan, setter, Dresser(scene, beside, kit, mirrored))
    found = {element.kind for element in elements}
    wanted = [*words, Kind.LOGO] if logo and logo.logo else [*words]
    warnings += [f"no room for the {name(kind)}" for kind in wanted if kind not in found]
    if mirrored:
        elements = [replace(element, box=mirror(element.box, width)) for element in elements]
    shown = (Element(Kind.PRODUCT, product), *elements)
    return Arrangement(Layout(width, height, safe, shown, mirrored), tuple(warnings))


def _choose_plan(
    words: Mapping[Kind, Words], width: int, height: int
) -> tuple[Setter, Callable[[Setter, Box, Box, BrandKit | None], Plan]]:
    unit = min(width, height)
    if width >= WIDE * height:
        return Setter(words, BESIDE, unit, BESIDE_GAP * unit), arrange_beside
    scales = TALL if width <= NARROW * height else STACKED
    return Setter(words, scales, unit, STACKED_GAP * unit), arrange_stacked


def _dress(plan: Plan, setter: Setter, dresser: Dresser) -> list[Element]:
    """From below to above."""
    words = [element for zone in plan.zones for element in dresser.dress(setter, zone)]
    return [*plan.logo, *words, *(dresser.dress_badge(badge) for badge in plan.badge)]


def mirror(box: Box, width: float) -> Box:
    return replace(box, left=width - box.right)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where words go, and what has its place already."""

    zones: list[Zone]
    badge: list[Placed]
    logo: list[Element]


def arrange_stacked(setter: Setter, safe: Box, product: Box, kit: BrandKit | None) -> Plan:
    """The title above the product, prices below it."""
    gap = PRODUCT_GAP * setter.unit
    parts = {
        "top": Box(safe.left, safe.top, safe.width, product.top - gap - safe.top),
        "bottom": Box(
            safe.left, product.bottom + gap, safe.width, safe.bottom - product.bottom - gap
        ),
    }
    logo, corner = _place_logo(parts, setter.unit, kit)
    if logo:
        parts[corner[0]] = _take(parts[corner[0]], logo[0].box, corner[1], setter.unit)
    rows: tuple[tuple[Kind, ...], ...] = ((Kind.TITLE,),)
    foot: tuple[tuple[Kind, ...], ...] = (PRICES,)
    badge: list[Placed] = []
    if Kind.TITLE not in setter.words and Kind.PRICE not in setter.words:
        foot = ((Kind.BADGE,),)
    elif setter.scales is TALL:
        rows = ((Kind.BADGE,), (Kind.TITLE,))
    else:
        side = "bottom" if corner == ("top", "end") else "top"
        badge = _place_badge(setter, parts[side], side)
        for placed in badge:
            parts[side] = _take(parts[side], placed.box, "end", setter.unit)
    zones = [Zone(parts["top"], rows, "top"), Zone(parts["bottom"], foot, "bottom")]
    return Plan(zones, badge, logo)


def arrange_beside(setter: Setter, safe: Box, product: Box, kit: BrandKit | None) -> Plan:
    """All in a column, where there is more room: before the product or after it."""
    gap = 2 * PRODUCT_GAP * setter.unit
    before = Box(safe.left, safe.top, product.left - gap - safe.left, safe.height)
    after = Box(product.right + gap, safe.top, safe.right - product.right - gap, safe.height)
    column = before if before.width >= after.width else after
    logo, corner = _place_logo({"top": column, "bottom": column}, setter.unit, kit)
    if logo:
        taken = logo[0].box.height + 0.5 * setter.row_gap
        top = column.top + taken if corner[0] == "top" else column.top
        column = replace(column, top=top, height=column.height - taken)
    rows = ((Kind.BADGE,), (Kind.TITLE,), PRICES)
    return Plan([Zone(column, rows, "middle")], [], logo)


def _place_logo(
    parts: Mapping[str, Box], unit: float, kit: BrandKit | None
) -> tuple[list[Element], tuple[str, str]]:
    """The logo with its clear space in its corner; nothing where that has no room."""
    if kit is None or kit.logo is None or kit.logo_pixels is None:
        return [], ("", "")
    edge, _, side = kit.logo.corner.partition("_")
    part = parts[edge]
    tall, wide = kit.logo_pixels.shape[:2]
    clear = 2 * kit.logo.clear_space
    height = min(kit.logo.height * unit, part.height / (1 + clear))
    height = min(height, LOGO_SHARE * part.width / (wide / tall + clear))
    if height < 0.5 * kit.logo.height * unit:
        return [], ("", "")
    size = height * (wide / tall + clear), height * (1 + clear)
    left = part.left if side == "start" else part.right - size[0]
    top = part.top if edge == "top" else part.bottom - size[1]
    return [Element(Kind.LOGO, Box(left, top, *size))], (edge, side)


def _place_badge(setter: Setter, part: Box, side: str) -> list[Placed]:
    if Kind.BADGE not in setter.words:
        return []
    share = BADGE_SHARE if Kind.TITLE in setter.words or side == "bottom" else 1.0
    row = setter.set_row([Kind.BADGE], share * part.width, part.height, False)
    return [
        move(
            placed,
            part.right - placed.box.right,
            part.top if side == "top" else part.bottom - placed.box.bottom,
        )
        for placed in row
    ]


def _take(part: Box, box: Box, side: str, unit: float) -> Box:
    """What is left of a part's width."""
    taken = box.width + WORD_GAP * unit
    left = part.left + taken if side == "start" else part.left
    return Box(left, part.top, part.width - taken, part.height)
