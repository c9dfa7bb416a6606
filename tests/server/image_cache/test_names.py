"""Every field of a request changes the name, or is known not to be in the picture."""

import dataclasses
from datetime import date
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from diffusion.looks import SceneWish
from server.core import ImageRequest, InlineProduct, ModelCard, OutputSpec
from server.creative import Box, Caption, Element, Kind, Layout, Localization, Price, TextStyle
from server.image_cache.names import ANSWERING, RESOLVED, Circumstances, name_image, spell_settings

REQUEST = ImageRequest(
    "backpack",
    scene=SceneWish("mint", "outdoor", avoided_palettes=frozenset({"rose"})),
    localization=Localization("BR", date(2026, 2, 14), True),
    caption=Caption(True, "Rucksack", Price("EUR", 12), Price("EUR", 20), "new"),
    layout=Layout(
        8,
        6,
        Box(0.0, 0.0, 8.0, 6.0),
        (Element(Kind.TITLE, Box(1.0, 1.0, 2.0, 2.0), "a", TextStyle("Sans", 9.0, "#112233")),),
    ),
)
INLINE = dataclasses.replace(
    REQUEST, product=InlineProduct("bag", b"packshot", {"colour": "red"}, b"map", b"mask")
)
SAMPLES: dict[Any, list[Any]] = {
    Price: [Price("EUR", 12)],
    Layout: [REQUEST.layout],
    TextStyle: [TextStyle("S", 9.0, "")],
}
HERE = Circumstances(
    product=b"product",
    title="Rucksack",
    taste="bucket 3/octave -2",
    arm="personalized",
    strength=0.5,
    model=ModelCard("default", "0123"),
    style="",
    seeds=(1, 2),
    feature_fingerprint="print",
    brand_kit=b"kit",
    day="2026-02-14",
    defaults=b"20 steps",
)


def others(kind: Any, value: Any) -> list[Any]:
    """Values of a type that differ from this one; none for a type that nobody thought of."""
    if get_origin(kind) in (Union, UnionType):
        options = [other for each in get_args(kind) for other in others(each, value)]
        return [None, *options] if NoneType in get_args(kind) and value is not None else options
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, kind):
            return SAMPLES.get(kind, []) if value is None else []
        return [changed for _, changed in alter(value)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [each for each in kind if each is not value]
    changed: dict[Any, Any] = {
        bool: lambda: [not value],
        int: lambda: [(value or 0) + 1],
        float: lambda: [(value or 0) + 0.25],
        str: lambda: [f"{value} and more"],
        bytes: lambda: [value + b"more"],
        date: lambda: [date(1999, 1, 1)],
    }
    if kind in changed and isinstance(value, (kind, NoneType)):
        return list(changed[kind]())
    if get_origin(kind) is frozenset:
        return [value | {"another"}]
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        if not value:
            return [(other,) for other in others(inner, inner())]
        return [(), *((other, *value[1:]) for other in others(inner, value[0]))]
    if getattr(get_origin(kind), "__name__", "") == "Mapping":
        return [{**value, "another": 1}, {}]
    return []


def alter(value: Any) -> list[tuple[str, Any]]:
    """(name of the field, the value with that field changed), for each field and kind of change."""
    hints = get_type_hints(type(value))
    found = []
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        changes = others(hints[field.name], own)
        assert changes, f"this test does not know how to change {field.name}: {hints[field.name]}"
        found += [
            (field.name, dataclasses.replace(value, **{field.name: each})) for each in changes
        ]
    return found


@pytest.mark.parametrize("request_", [REQUEST, INLINE, ImageRequest("x")], ids=["a", "b", "c"])
def test_every_field_of_a_request_changes_the_name_or_is_known_not_to_show(request_):
    own = name_image(request_, HERE)
    for name, changed in alter(request_):
        is_in_picture = name not in ANSWERING | RESOLVED
        assert (name_image(changed, HERE) != own) == is_in_picture, name


def test_all_names_of_changed_requests_differ_from_each_other():
    changed = [each for name, each in alter(REQUEST) if name not in ANSWERING | RESOLVED]
    names = {name_image(each, HERE) for each in changed}
    assert len(names) == len(set(map(str, changed))) > 40


def test_every_circumstance_changes_the_name():
    own = name_image(REQUEST, HERE)
    for name, changed in alter(HERE):
        assert name_image(REQUEST, changed) != own, name


def test_only_these_fields_are_known_not_to_show():
    """Whoever adds one has thought about it twice."""
    who_asks = {"user_id", "session_id", "request_id"}
    how_to_answer = {"deadline_s", "deadline_policy", "preview_side", "is_explained"}
    assert ANSWERING == who_asks | how_to_answer | {"cache_policy", "is_background"}
    experiments = {"arm", "experiment", "arm_name"}
    assert RESOLVED == experiments | {
        "model",
        "strength",
        "seed",
        "num_images",
        "slate_rank",
        "slate_size",
    }


def test_a_name_is_the_same_for_equal_requests_and_says_nothing_of_who_asks():
    asked = dataclasses.replace(REQUEST, user_id="alice", request_id="1", deadline_s=5.0)
    again = dataclasses.replace(REQUEST, user_id="bob", request_id="2")
    assert name_image(asked, HERE) == name_image(again, HERE)
    assert len(name_image(asked, HERE)) == 40 and int(name_image(asked, HERE), 16)


def test_text_can_not_slip_from_one_field_into_the_next():
    one = ImageRequest("x", style="ab", brand_kit="c")
    other = ImageRequest("x", style="a", brand_kit="bc")
    assert name_image(one, HERE) != name_image(other, HERE)
    assert spell_settings(("x", "y")) != spell_settings(("xstry",))
    assert spell_settings("x", "y") != spell_settings(("x", "y"))


def test_the_order_of_a_set_or_a_mapping_does_not_matter():
    one = dataclasses.replace(INLINE, product=InlineProduct("bag", b"", {"a": "1", "b": "2"}))
    other = dataclasses.replace(INLINE, product=InlineProduct("bag", b"", {"b": "2", "a": "1"}))
    assert name_image(one, HERE) == name_image(other, HERE)


def test_a_value_without_a_name_is_refused_and_not_left_out():
    with pytest.raises(TypeError, match="object"):
        spell_settings(object())


def test_the_size_and_format_of_a_picture_are_in_its_name():
    names = {
        name_image(dataclasses.replace(REQUEST, output=OutputSpec(longest_side=side)), HERE)
        for side in (64, 128, 256)
    }
    assert len(names) == 3
