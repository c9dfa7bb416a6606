"""Why an image looks as it does: each input is left out in turn, and the model is asked again.

An input's `change` is how much the prediction changes without it. Its `share` is signed, and is the
mean of what goes when it is left out and of what comes when it is the only one of its kind: a model
follows a faint hint almost as far as a strong one, so that of two inputs that say the same neither
would be missed, and both would seem to do nothing. For two inputs this is the Shapley value: the
shares of profile and last clicks add up to 1. Those of single clicks need not.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.image_model import ImageModel, Route, ShopperFacts, Wish
from diffusion.looks import ANYWHERE, AXES
from diffusion.probes import IMAGE, TITLE, leave_out, probe
from diffusion.taste import weigh_by_similarity
from diffusion.taste_buckets import TasteBuckets
from features.records import LastClicks, Shopper
from server.commission import Commission, find_proportions
from server.core import Pixels
from server.creative import Explanation, Influence
from server.finishing import dress
from server.imaging.compose import compose_in
from server.imaging.frame import find_size
from server.sampling.row import RowRequest

PROFILE, CLICKS, SCENE, STYLE = "profile", "last clicks", "scene", "style"
DRAWN = "drawn look"
"""What diversity chose, by the image's own seed."""

MAX_CLICKS = 5
"""So many of the last clicks are looked at one by one: those that weigh most for this product."""

FAINTEST = 4.0
"""Of changes that a map shows white, in codes: noise is not blown up to look like something."""

UNMADE = Explanation((), "The merchant's own picture is shown: no model made it.", 0.0, 0.0)

Vector = NDArray[np.float32]
Plane = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """An input, and the numbers of the rows without it, with it alone, and with no rival either."""

    input: str
    description: str
    without: int
    alone: int
    bare: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows of one tick each for the engine, the first with all inputs, and what they are for.

    `nobody` is the number of the row without the shopper: 0 where none takes part.
    """

    rows: tuple[RowRequest, ...]
    parts: tuple[Part, ...]
    nobody: int


def plan_explanation(
    model: ImageModel,
    product: Any,
    shopper: Shopper | None,
    wish: Wish,
    seed: int,
    buckets: TasteBuckets | None = None,
    deadline_s: float | None = None,
) -> Probe:
    """`product` is what the model prepared, `shopper` None where nobody may take part; `wish` and
    `seed` are those of the image. May take long where `model.is_planning_slow`."""
    behind = None if shopper is None else _Shopper(shopper, product.image_embedding, buckets)
    somebody = None if behind is None else behind.know(frozenset())
    planner = _Planner(model.name, seed, deadline_s)
    route = model.plan(product, somebody, wish, seed)
    planner.add(route)
    nobody = planner.add(model.plan(product, None, wish, seed))
    if behind is not None and nobody:

        def plan_shopper(off: Set[str]) -> Route:
            return model.plan(product, behind.know(off), wish, seed)

        clicks = behind.describe_clicks()
        planner.compare(behind.describe_groups(), plan_shopper)
        planner.compare(clicks, plan_shopper, {PROFILE, *behind.clicks})
    planner.compare(
        {TITLE: "", IMAGE: ""},
        lambda off: model.plan(leave_out(model, product, off), somebody, wish, seed),
    )
    undrawn = model.plan(product, somebody, _simplify(wish, {DRAWN}), seed)
    drawn = ", ".join(word for word in route.look if word not in undrawn.look)
    planner.compare(
        {SCENE: _describe_scene(wish), STYLE: "", DRAWN: drawn},
        lambda off: model.plan(product, somebody, _simplify(wish, off), seed),
    )
    return Probe(tuple(planner.rows), tuple(planner.parts), nobody)


def explain(
    probe: Probe, pixels: Sequence[Pixels], show: Callable[[Pixels], Pixels] | None = None
) -> Explanation:
    """`pixels` [h, w, 3] of each row. `show` makes of them what is delivered [H, W, 3], of the size
    that the map is to have: None for no map."""
    seen = [each.astype(np.float64) for each in pixels]
    influences = [_measure(part, seen) for part in probe.parts]
    influences.sort(key=lambda influence: -influence.change)
    moved = seen[0] - seen[probe.nobody]
    drawn, width, height = b"", 0, 0
    if probe.nobody and show is not None:
        both = [show(pixels[number]).astype(np.float64) for number in (0, probe.nobody)]
        height, width = both[0].shape[:2]
        drawn = _draw_map(both[0] - both[1])
    return Explanation(
        influences=tuple(influences),
        text=_tell(influences, _size(moved), is_somebody=probe.nobody > 0),
        sigma=probe.rows[0].plan[0].sigma,
        shopper_effect=_size(moved),
        shopper_map=drawn,
        map_width=width,
        map_height=height,
    )


def show_small(pixels: Pixels, commission: Commission, look: tuple[str, ...], side: int) -> Pixels:
    """A sampled picture [h, w, 3] as it is delivered, but for its texts, `side` pixels long."""
    cutout, mode = dress(commission, look)
    width, height = find_size(side, find_proportions(commission.request))
    frame = replace(commission.frame, width=width, height=height)
    return compose_in(pixels, cutout, frame, mode).pixels


@dataclass
class _Planner:
    """Rows, and each prediction once."""

    model: str
    seed: int
    deadline_s: float | None
    rows: list[RowRequest] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    numbers: dict[bytes, int] = field(default_factory=dict)

    def add(self, route: Route) -> int:
        probed = probe(route)
        number = self.numbers.setdefault(probed.walk[0].key, len(self.rows))
        if number == len(self.rows):
            self.rows.append(RowRequest.along(probed, self.model, self.seed, self.deadline_s))
        return number

    def compare(
        self,
        inputs: Mapping[str, str],
        plan: Callable[[Set[str]], Route],
        rivals: Set[str] | None = None,
    ) -> None:
        """Each input, with what stands behind it, against its rivals: by default one another.

        `plan` tells the walk without some of them.
        """
        rivals = inputs.keys() if rivals is None else rivals
        for name, description in inputs.items():
            if without := self.add(plan({name})):  # or the model never hears of it
                alone, bare = self.add(plan(rivals - {name})), self.add(plan(rivals))
                self.parts.append(Part(name, description, without, alone, bare))


@dataclass(frozen=True)
class _Shopper:
    """A shopper of whom some may be left out; `product` [w] is the one that they are shown."""

    shopper: Shopper
    product: Vector
    buckets: TasteBuckets | None

    @property
    def clicks(self) -> dict[str, int]:
        """Places by name, the last click being "click 1"."""
        if self.shopper.last_clicks is None:
            return {}
        places = np.flatnonzero(self.shopper.last_clicks.weights > 0)[::-1]
        return {f"click {number}": int(place) for number, place in enumerate(places, 1)}

    def know(self, off: Set[str]) -> ShopperFacts | None:
        """Declared interests belong to the profile. None where nothing is left."""
        shopper = self.shopper
        if PROFILE in off and shopper.profile is not None:
            shopper = replace(shopper, profile=np.zeros_like(shopper.profile), interests=())
        if shopper.last_clicks is not None:
            embeddings, weights = shopper.last_clicks
            gone = [place for name, place in self.clicks.items() if {name, CLICKS} & off]
            weights = np.where(np.isin(np.arange(len(weights)), gone), np.float32(0), weights)
            shopper = replace(shopper, last_clicks=LastClicks(embeddings, weights))
        vector, taste = shopper.embed(self.product), shopper.embed()
        if vector is None or taste is None or not (vector.any() or shopper.interests):
            return None
        return ShopperFacts(vector, taste, shopper.interests)

    def describe_groups(self) -> dict[str, str]:
        profile = self.shopper.profile
        return {PROFILE: "" if profile is None else self._describe(profile), CLICKS: ""}

    def describe_clicks(self) -> dict[str, str]:
        """Those that weigh most for this product, from new to old."""
        if self.shopper.last_clicks is None:
            return {}
        embeddings, weights = self.shopper.last_clicks
        weights = weigh_by_similarity(embeddings, weights, self.product)
        most = set(np.argsort(-weights, kind="stable")[:MAX_CLICKS].tolist())
        return {
            name: self._describe(embeddings[place])
            for name, place in self.clicks.items()
            if place in most
        }

    def _describe(self, vector: Vector) -> str:
        """The look that an embedding [w] points to, e.g. "mint, outdoor"."""
        if self.buckets is None or not vector.any():
            return ""
        words = zip(AXES.values(), self.buckets.axes, strict=False)
        return ", ".join(choices[int((axis @ vector).argmax())] for choices, axis in words)


def _describe_scene(wish: Wish) -> str:
    scene = wish.scene
    return ", ".join(filter(None, (scene.palette, scene.setting, scene.season, scene.brief)))


def _simplify(wish: Wish, off: Set[str]) -> Wish:
    if SCENE in off:
        wish = replace(wish, scene=ANYWHERE)
    if DRAWN in off:
        wish = replace(wish, diversity=0.0)
    return replace(wish, style=None, style_strength=1.0) if STYLE in off else wish


def _measure(part: Part, seen: Sequence[Plane]) -> Influence:
    full, bare = seen[0], seen[part.bare]
    whole = full - bare
    energy = float((whole**2).sum())
    felt = (full - seen[part.without] + seen[part.alone] - bare) / 2
    share = float((felt * whole).sum()) / energy if energy else 0.0
    return Influence(part.input, part.description, share, _size(full - seen[part.without]))


def _size(change: Plane) -> float:
    """Root mean square over pixels, in codes."""
    return float(np.sqrt((change**2).mean()))


def _draw_map(moved: Plane) -> bytes:
    """Grey PNG, white from the 99th percentile on."""
    plane = np.abs(moved).mean(axis=2)
    white = max(float(np.percentile(plane, 99)), FAINTEST)
    grey = Image.fromarray(np.rint(255 * np.clip(plane / white, 0, 1)).astype(np.uint8))
    file = io.BytesIO()
    grey.save(file, "PNG")
    return file.getvalue()


def _tell(influences: Sequence[Influence], effect: float, is_somebody: bool) -> str:
    """A few sentences for a person."""
    sentences = ["No shopper took part in the picture."]
    if is_somebody:
        groups = [each for each in influences if each.input in (PROFILE, CLICKS)]
        groups.sort(key=lambda group: -group.share)
        shares = " and ".join(f"{each.share:.0%} to their {_name(each)}" for each in groups)
        sentences = [f"The shopper moved the picture by {effect:.0f}/255 on average"]
        sentences[0] += f": {shares}." if shares else "."
        clicks = [each for each in influences if each.input.startswith("click ")]
        if clicks and (most := max(clicks, key=lambda click: click.share)).share > 0:
            sentences.append(f"Of the last clicks, {_name(most)} speaks most for it.")
        if clicks and (least := min(clicks, key=lambda click: click.share)).share < 0:
            sentences.append(f"Against it speaks {_name(least)}.")
    others = [each for each in influences if each.input in (TITLE, IMAGE, SCENE, STYLE, DRAWN)]
    if others:
        told = ", ".join(f"{_name(each)} {each.change:.0f}/255" for each in others)
        sentences.append(f"Left out, other inputs would change it by: {told}.")
    return " ".join(sentences)


def _name(influence: Influence) -> str:
    described = f" ({influence.description})" if influence.description else ""
    return influence.input + described
