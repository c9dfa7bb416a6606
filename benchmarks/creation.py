"""Are wishes followed, and what does diversity do? `python -m benchmarks.creation [--quick]`.

Held-out products, simulated shoppers and the judge of the evaluation: how often palette and setting
are what was wished, whether the rest still follows the shopper, how often what is avoided shows all
the same, and how far apart eight images of one request lie. Writes creation.json and creation.png.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from benchmarks.creation_pictures import LONG, SEED, Answer, Question, Studio, find_distances
from benchmarks.creation_sheet import draw_sheet
from benchmarks.measurement import Better, Claim, Options, Report, parse_options
from diffusion.evaluation.metrics import (
    Figure,
    estimate_difference,
    estimate_mean,
    estimate_rate,
)
from diffusion.image_model import Wish
from diffusion.looks import AXES, SceneWish

STRENGTH = 0.5
DIVERSITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
NUM_IMAGES = 8
BRIEFS = (
    ("a sunny beach in blue tones", "sky", "outdoor"),
    ("warm yellow evening sky with stars", "lemon", "night"),
    ("pink birthday party", "rose", "festive"),
    ("green, on a kitchen table with flowers", "mint", "table"),
    ("violet polka dots", "lavender", "pattern"),
    ("a grey studio backdrop", "graphite", "studio"),
    ("beige, between books on a shelf", "sand", "shelf"),
    ("orange spotlight on a pedestal", "coral", "glow"),
)


@dataclass(frozen=True, slots=True)
class Size:
    """Pictures of a rate, products of the curve, and shoppers of the world."""

    pairs: int
    curve: int
    shoppers: int
    creatives: int
    sheet: int


FULL, QUICK = Size(128, 12, 1500, 512, 6), Size(8, 1, 300, 128, 2)


class Measurement:
    """One claim after the other, of the same products and shoppers."""

    def __init__(self, studio: Studio, size: Size) -> None:
        self.studio, self.size = studio, size
        rng = np.random.default_rng(SEED)
        count = size.pairs
        self.products = rng.choice(studio.held_out, count).tolist()
        self.long = rng.choice(studio.find_shoppers(LONG), count).tolist()
        self.short = rng.choice(studio.find_shoppers(1, 3), count).tolist()
        self.wished = {
            axis: rng.permutation(np.resize(np.array(AXES[axis]), count)).tolist()
            for axis in ("palette", "setting")
        }

    def ask(
        self,
        scenes: Sequence[SceneWish],
        shoppers: Sequence[int] | None = None,
        strength: float = STRENGTH,
        *,
        is_student: bool = False,
    ) -> Answer:
        shown: Sequence[int | None] = shoppers or [None] * len(scenes)
        wish = Wish("preserve", strength=strength)
        questions = [
            Question(product, shopper, replace(wish, scene=scene), 1000 + number)
            for number, (product, shopper, scene) in enumerate(
                zip(self.products, shown, scenes, strict=True)
            )
        ]
        return self.studio.ask(questions, self.studio.student if is_student else None)

    def tastes(self, axis: str, shoppers: Sequence[int]) -> list[str]:
        return [self.studio.taste(shopper, axis) for shopper in shoppers]

    def measure_wishes(self) -> Iterator[Claim]:
        anywhere = [SceneWish()] * self.size.pairs
        both = [SceneWish(palette=p, setting=s) for p, s in zip(*self.wished.values(), strict=True)]
        for name, is_student in (("quality", False), ("fast", True)):
            answer = self.ask(both, is_student=is_student)
            yield from self._follow(f"{name}.nobody.both", answer, self.wished)
        yield from self._identify("nobody.both", answer)
        plain = self.ask(anywhere, self.long)
        told = {axis: self.tastes(axis, self.long) for axis in self.wished}
        yield from self._follow("shopper.without_wish", plain, told, None)
        yield from self._identify("shopper.without_wish", plain)
        for axis, wished in self.wished.items():
            (other,) = set(self.wished) - {axis}
            scenes = [SceneWish(**{axis: choice}) for choice in wished]
            nobody = self.ask(scenes)
            yield from self._follow(f"nobody.{axis}", nobody, {axis: wished})
            for strength in (0.25, STRENGTH, 1.0):
                answer = self.ask(scenes, self.long, strength)
                where = f"shopper_at_{strength:g}.{axis}"
                yield from self._follow(where, answer, {axis: wished})
                yield from self._follow(where, answer, {other: told[other]}, None, "by_taste")
                yield from self._identify(where, answer)

    def measure_avoidance(self) -> Iterator[Claim]:
        for axis, wished in self.wished.items():
            tastes = self.tastes(axis, self.long)
            for who, shoppers, avoided in (
                ("nobody", None, wished),
                ("short", self.short, wished),
                ("favourite", self.long, tastes),
            ):
                scenes = [avoid(axis, choice) for choice in avoided]
                hits = self.ask(scenes, shoppers).hits(axis, avoided)
                figure = estimate_rate(hits)
                yield claim(f"avoided.{who}.{axis}", figure, "of pictures show it", 0.05, "lower")

    def measure_briefs(self) -> Iterator[Claim]:
        chosen = [BRIEFS[number % len(BRIEFS)] for number in range(self.size.pairs)]
        scenes = [SceneWish(brief=brief) for brief, _, _ in chosen]
        expected = {"palette": [p for _, p, _ in chosen], "setting": [s for _, _, s in chosen]}
        yield from self._follow("brief", self.ask(scenes), expected)

    def measure_diversity(self) -> Iterator[Claim]:
        """Eight images of one product for one shopper, seed by seed. Of nobody's images each has a
        look of its own anyway, so that nothing is promised of the dial but that it costs nothing.
        """
        products, shoppers = self.products[: self.size.curve], self.long[: self.size.curve]
        for task, who in (("preserve", shoppers), ("preserve", None), ("create", shoppers)):
            name = f"diversity.{task}.{'nobody' if who is None else 'shopper'}"
            answers = []
            apart: dict[str, list[float]] = {"pixels": [], "features": []}
            for diversity in DIVERSITIES:
                wish = Wish(task, strength=STRENGTH, diversity=diversity)
                questions = [
                    Question(product, None if who is None else who[number], wish, 100 * number + n)
                    for number, product in enumerate(products)
                    for n in range(NUM_IMAGES)
                ]
                answer = self.studio.ask(questions)
                colours, features = find_distances(answer, NUM_IMAGES)
                at = f"{name}.at_{diversity:g}"
                yield claim(f"{at}.pixels", estimate_mean(colours), "ΔE, mean of pairs")
                yield claim(f"{at}.features", estimate_mean(features), "mean of pairs")
                yield from self._identify(at, answer)
                answers.append(answer)
                apart["pixels"].append(float(np.mean(colours)))
                apart["features"].append(float(np.mean(features)))
            for measure, means in apart.items():
                wanted = None if who is None else len(means) - 1
                yield claim(
                    f"{name}.rises.{measure}", count_rises(means), "steps of the dial", wanted
                )
            found = [answer.shown_found for answer in (answers[0], answers[-1])]
            lost = scale(estimate_difference(*found), 100)
            yield claim(f"{name}.product_lost", lost, "points, by the whole dial", 2.0, "lower")

    def _follow(
        self,
        name: str,
        answer: Answer,
        expected: dict[str, list[str]],
        target: float | None = 0.9,
        how: str = "followed",
    ) -> Iterator[Claim]:
        for axis, choices in expected.items():
            figure = estimate_rate(answer.hits(axis, choices))
            yield claim(f"{name}.{axis}_{how}", figure, "of pictures", target)

    def _identify(self, name: str, answer: Answer) -> Iterator[Claim]:
        for when, found in (("before", answer.raw_found), ("after", answer.shown_found)):
            figure = estimate_rate(found)
            yield claim(f"{name}.product_{when}_paste_back", figure, "recognised")


def count_rises(means: Sequence[float]) -> Figure:
    """How many are larger than the one before: of a dial that does nothing none is."""
    rises = sum(after > before for before, after in pairwise(means))
    return Figure(rises, rises, rises, len(means) - 1)


def scale(figure: Figure, by: float) -> Figure:
    return Figure(by * figure.value, by * figure.low, by * figure.high, figure.n)


def avoid(axis: str, choice: str) -> SceneWish:
    avoided = frozenset({choice})
    if axis == "palette":
        return SceneWish(avoided_palettes=avoided)
    return SceneWish(avoided_settings=avoided)


def claim(
    name: str, figure: Figure, unit: str, target: float | None = None, better: Better = "higher"
) -> Claim:
    holds = None
    if target is not None:
        holds = figure.value >= target if better == "higher" else figure.value <= target
    spread = (figure.low, figure.high)
    return Claim(f"creation.{name}", figure.value, unit, target, better, holds, figure.n, spread)


def main(options: Options) -> int:
    report = Report("creation", options)
    size = QUICK if options.quick else FULL
    studio = Studio.open(size.shoppers, size.creatives)
    measurement = Measurement(studio, size)
    for part in (
        measurement.measure_wishes,
        measurement.measure_avoidance,
        measurement.measure_briefs,
        measurement.measure_diversity,
    ):
        report.claims += part()
    status = report.finish()
    path = options.out / "creation.png"
    draw_sheet(studio, measurement.products[: size.sheet], measurement.long).save(path)
    print(path)
    return status


if __name__ == "__main__":
    raise SystemExit(main(parse_options((__doc__ or "").splitlines()[0])))
