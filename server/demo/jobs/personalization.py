"""The second job: a ranked slate, for one shopper after the other."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from etalage import Answer, Client, Influence, Result
from server.demo.jobs.source import show_source
from server.demo.page import Facts, Reasons, Section, Shelf, Table
from server.demo.program import SEED, Cast, Viewer, title

SLATE = ("handbag", "headphone", "bicycle", "bouquet")
NOBODY = Viewer("", "everybody else")
AXES = ("palette", "setting")


@dataclass(frozen=True, slots=True)
class Slate:
    """Results in the order of rank, and how long all of them took."""

    viewer: Viewer
    results: tuple[Result, ...]
    wall_ms: float


def ask_slate(client: Client, products: Sequence[str], user: str) -> list[Result]:
    items = client.slate(products, user=user, model="fast", seed=SEED, format="webp")
    return [item.unwrap() for item in sorted(items, key=lambda item: item.rank)]


def ask_why(client: Client, product: str, user: str) -> Answer:
    return client.explain(product, user=user, model="fast", seed=SEED)


def show(client: Client, cast: Cast, shelf: Shelf) -> Section:
    first, *_ = cast.shoppers
    slates = [_time(client, viewer) for viewer in (NOBODY, *cast.shoppers)]
    again = _time(client, first)
    made = next(slate for slate in slates if slate.viewer == first)
    num_cached = sum(result.source == "cache" for result in again.results)
    return Section(
        "personalization",
        "Personalization in recommendations",
        "Each shopper sees the same ranking in surroundings to their taste, read from the feature "
        "store while they wait. Shoppers of one taste share what was made once.",
        (
            _compare(slates, shelf),
            Facts(
                (
                    (f"{made.wall_ms:.0f} ms", f"the slate for {first.label}, made"),
                    (f"{again.wall_ms:.0f} ms", "the same slate once more"),
                    (f"{num_cached} of {len(SLATE)}", "then came from the image cache"),
                )
            ),
            _explain(ask_why(client, SLATE[0], first.user_id), made, shelf),
        ),
        f"{show_source(ask_slate)}\n\n\n{show_source(ask_why)}",
        f"etalage slate --products {' '.join(SLATE)} --user {first.user_id} -o slate/",
    )


def _time(client: Client, viewer: Viewer) -> Slate:
    start_s = time.perf_counter()
    results = tuple(ask_slate(client, SLATE, viewer.user_id))
    return Slate(viewer, results, 1000 * (time.perf_counter() - start_s))


def _compare(slates: Sequence[Slate], shelf: Shelf) -> Table:
    columns = [
        tuple(
            shelf.put(
                f"slate-{slate.viewer.user_id or 'generic'}-{product}",
                result.image.data,
                f"{title(product)} for {slate.viewer.label}",
            )
            for product, result in zip(SLATE, slate.results, strict=True)
        )
        for slate in slates
    ]
    heads = [
        (slate.viewer.label, f"likes {', '.join(slate.viewer.likes)}" if slate.viewer.likes else "")
        for slate in slates
    ]
    followed = [_tell_followed(slate) for slate in slates]
    return Table(
        (("", ""), *heads),
        (*(((title(name),), *row) for name, *row in zip(SLATE, *columns, strict=True)),)
        + ((("taste followed",), *followed),),
        text="The server sees clicks, never a taste. What simulated shoppers were given to like is "
        "compared with what an independent network sees in the pictures.",
    )


def _tell_followed(slate: Slate) -> tuple[str, ...]:
    """How many of the slate's pictures have the palette and the setting that the shopper likes."""
    if not slate.viewer.likes:
        return ("the generic picture", "no shopper takes part")
    seen = read_looks(slate.results)
    return tuple(
        f"{axis}: {seen[axis][liked]} of {len(slate.results)}"
        for axis, liked in zip(AXES, slate.viewer.likes, strict=True)
    )


def read_looks(results: Sequence[Result]) -> Mapping[str, Counter[str]]:
    """What an independent network sees in pictures, counted by axis."""
    from diffusion.evaluation.judge import load_judge  # brings torch, which costs seconds
    from diffusion.looks import AXES as CHOICES

    judged = load_judge().read(np.stack([_pixels(result) for result in results]))
    return {
        axis: Counter(CHOICES[axis][int(number)] for number in judged.of(axis).argmax(dim=1))
        for axis in AXES
    }


def _explain(answer: Answer, slate: Slate, shelf: Shelf) -> Reasons:
    explanation, viewer = answer.explanation, slate.viewer
    name = title(SLATE[0])
    figures = [
        shelf.put(
            "why-image", slate.results[0].image.data, f"{name} for {viewer.label}", "The picture"
        )
    ]
    if explanation.shopper_map:
        alt = f"map of the {name}'s picture: light where the shopper changed it"
        figures.append(
            shelf.put("why-map", explanation.shopper_map, alt, "Where the shopper acted")
        )
    return Reasons(
        f"Why the {name} looks so for {viewer.label}",
        tuple(figures),
        explanation.text,
        tuple(_tell_shares(explanation.influences)),
    )


def _tell_shares(influences: Sequence[Influence]) -> Iterator[tuple[str, float]]:
    """Of the shopper's inputs: first the groups, which add up to the whole, then single clicks."""
    for is_click in (False, True):
        mine = [each for each in influences if each.input.startswith("click ") == is_click]
        for each in sorted(mine, key=lambda influence: -influence.share):
            if is_click or each.input in ("profile", "last clicks"):
                described = f": {each.description}" if each.description else ""
                yield each.input + described, each.share


def _pixels(result: Result) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(result.image.data)) as opened:
        return np.asarray(opened.convert("RGB"))
