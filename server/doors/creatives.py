"""Scenes, captions, layouts and explanations between protobuf and the core's nouns, both ways.

Requests have been validated before.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Any

from diffusion.cutout import MaskSource
from diffusion.looks import SceneWish
from etalage.v1 import images_pb2 as pb
from etalage.v1 import layouts_pb2, scenes_pb2
from server.creative import (
    Box,
    Caption,
    Element,
    Explanation,
    Fidelity,
    Influence,
    Kind,
    Layout,
    Localization,
    Placement,
    Price,
    TextStyle,
)

MASK_SOURCES: dict[MaskSource, Any] = {
    each: pb.MaskSource.Value(f"MASK_SOURCE_{each.name}") for each in MaskSource
}
PLACEMENTS: dict[int, Placement] = {
    layouts_pb2.Placement.Value(f"PLACEMENT_{each.name}"): each for each in Placement
}


def scene_from_proto(scene: scenes_pb2.Scene) -> SceneWish:
    return SceneWish(
        palette=palette_from_proto(scene.palette),
        setting=setting_from_proto(scene.setting),
        season=_word(scenes_pb2.Season.Name(scene.season)),
        brief=scene.brief.strip(),
        avoided_palettes=frozenset(map(palette_from_proto, scene.avoided_palettes)),
        avoided_settings=frozenset(map(setting_from_proto, scene.avoided_settings)),
        avoided=scene.avoided.strip(),
    )


def palette_from_proto(number: scenes_pb2.Palette) -> str:
    return _word(scenes_pb2.Palette.Name(number))


def setting_from_proto(number: scenes_pb2.Setting) -> str:
    return _word(scenes_pb2.Setting.Name(number))


def localization_from_proto(told: layouts_pb2.Localization) -> Localization:
    day = told.time.ToDatetime(UTC).date() if told.HasField("time") else None
    return Localization(told.market.upper(), day, told.occasion)


def caption_from_proto(caption: layouts_pb2.Caption) -> Caption:
    return Caption(
        caption.title,
        caption.title_text.strip(),
        price_from_proto(caption.price) if caption.HasField("price") else None,
        price_from_proto(caption.former_price) if caption.HasField("former_price") else None,
        caption.badge.strip(),
        caption.label,
    )


def price_from_proto(price: layouts_pb2.Price) -> Price:
    return Price(price.currency_code, price.units, price.nanos)


def layout_from_proto(layout: layouts_pb2.Layout, locale: str) -> Layout:
    """Texts that name no language are in that of the `locale`."""
    return Layout(
        layout.width,
        layout.height,
        box_from_proto(layout.safe_area),
        tuple(element_from_proto(element, locale) for element in layout.elements),
        layout.is_mirrored,
    )


def element_from_proto(element: layouts_pb2.Layout.Element, locale: str) -> Element:
    kind = Kind(_word(layouts_pb2.Layout.Kind.Name(element.kind)))
    told, style = element.style, None
    if element.HasField("style"):
        style = TextStyle(
            told.font,
            told.size,
            told.colour,
            told.background,
            told.is_right_to_left,
            told.language or locale,
        )
    return Element(kind, box_from_proto(element.box), element.text, style)


def box_from_proto(box: layouts_pb2.Box) -> Box:
    return Box(box.left, box.top, box.width, box.height)


def layout_to_proto(layout: Layout) -> layouts_pb2.Layout:
    return layouts_pb2.Layout(
        width=layout.width,
        height=layout.height,
        safe_area=box_to_proto(layout.safe_area),
        elements=map(element_to_proto, layout.elements),
        is_mirrored=layout.is_mirrored,
    )


def element_to_proto(element: Element) -> layouts_pb2.Layout.Element:
    message = layouts_pb2.Layout.Element(
        kind=f"KIND_{element.kind.name}",
        box=box_to_proto(element.box),
        text=element.text,
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


def box_to_proto(box: Box) -> layouts_pb2.Box:
    return layouts_pb2.Box(left=box.left, top=box.top, width=box.width, height=box.height)


def fidelity_to_proto(fidelity: Fidelity) -> pb.Fidelity:
    return pb.Fidelity(
        max_difference=fidelity.max_difference,
        growth_percent=fidelity.growth_percent,
        mask_uncertainty=fidelity.mask_uncertainty,
        sharpness=fidelity.sharpness,
        mask_source=MASK_SOURCES[fidelity.mask_source] if fidelity.mask_source else None,
    )


def explanation_to_proto(explanation: Explanation) -> pb.Explanation:
    message = pb.Explanation(
        influences=influences_to_proto(explanation.influences),
        text=explanation.text,
        sigma=explanation.sigma,
        shopper_effect=explanation.shopper_effect,
    )
    if explanation.shopper_map:
        shown = pb.Image(
            data=explanation.shopper_map,
            mime_type="image/png",
            width=explanation.map_width,
            height=explanation.map_height,
        )
        message.shopper_map.CopyFrom(shown)
    return message


def influences_to_proto(influences: Iterable[Influence]) -> Iterable[pb.Influence]:
    for each in influences:
        yield pb.Influence(
            input=each.input,
            description=each.description,
            share=each.share,
            change=each.change,
        )


def _word(name: str) -> str:
    """PALETTE_MINT → mint; of what is unspecified nothing."""
    word = name.partition("_")[2].lower()
    return "" if word == "unspecified" else word
