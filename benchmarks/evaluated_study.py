"""The evaluation with everything loaded: models, shop, shoppers, judge and what they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.evaluated_encoders import find_artworks, find_judge, find_recall, find_tastes
from benchmarks.evaluated_sheets import Studio, choose_shoppers, draw_grid, draw_side_by_side
from benchmarks.evaluated_world import (
    UNSEEN_SEEDS,
    SimulatedAudience,
    World,
    draw_looks,
    open_world,
    render_composites,
)
from benchmarks.measurement import ROOT
from diffusion.baseline import ConditionalGan
from diffusion.checkpoint import DEFAULT_CHECKPOINT, FAST_CHECKPOINT
from diffusion.composition import Pixels
from diffusion.evaluation.findings import (
    Features,
    Finding,
    find_dial,
    find_history,
    find_identity,
    find_quality,
    find_steps,
    find_taste,
)
from diffusion.evaluation.generation import Model, time_pictures
from diffusion.evaluation.judge import JUDGE, load_judge
from diffusion.evaluation.metrics import Figure, Reference
from diffusion.evaluation.report import Picture
from diffusion.evaluation.study import (
    Reader,
    Settings,
    Size,
    Trial,
    place_orders,
    plan_study,
    run_study,
)
from diffusion.model import ProductDiffusion
from diffusion.training.distillation import STUDENT_STEPS
from features.simulate import WORLD
from server.core import Mode
from server.imaging.compose import compose
from server.rows import Defaults

SEED = 2024  # of all draws; the world that features and training know has another
MAIN, STUDENT, BASELINE = "diffusion", "student", "conditional GAN"
SIDE = 128


@dataclass(frozen=True, slots=True)
class Folders:
    checkpoint: Path = DEFAULT_CHECKPOINT
    student: Path = FAST_CHECKPOINT
    baseline: Path = JUDGE.with_name("baseline")
    judge: Path = JUDGE
    artworks: Path = ROOT / "out" / "artworks"
    world: Path = WORLD
    report: Path = ROOT / "out" / "evaluation"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything."""

    study: Size
    steps: tuple[int, ...]
    shoppers: int
    creatives: int
    per_look: int
    reference: int
    judged: int
    queried: int
    sheet: tuple[int, int]
    """Products and shoppers."""
    batches: tuple[int, int]
    """Timed ones of 1 and of 16."""


FULL = Effort(Size(), (4, 8, 20, 50), 3000, 1024, 6, 512, 512, 535, (6, 5), (9, 3))
QUICK = Effort(
    Size(pairs=12, restyle_generic=6, history=4, dial=4, steps=4),
    *((4, 8, 20), 500, 128, 2, 192, 96, 60, (2, 2), (2, 1)),
)


def paste(pixels: Pixels, cutout: Pixels, task: str) -> Pixels:
    return compose(pixels, cutout, SIDE, Mode(task))


@dataclass(frozen=True)
class Study:
    """All that is at hand once everything is loaded."""

    effort: Effort
    world: World
    audience: SimulatedAudience
    models: dict[str, Model]
    digest: str
    reader: Reader
    settings: Settings
    arms: dict[str, list[Trial]]
    reference: Reference
    others: Features

    def find_world(self, folders: Folders) -> Iterator[Finding]:
        main = self.models[MAIN]
        assert isinstance(main, ProductDiffusion)
        queried = np.random.default_rng(SEED).permutation(len(self.world.rows))
        queried = np.sort(queried[: self.effort.queried])
        yield from find_recall(self.world, main.encoders, queried)
        if folders.artworks.exists():
            yield from find_artworks(self.world, main.encoders, queried, folders.artworks)
        yield from find_tastes(self.audience, queried)
        yield from find_judge(self.world, self.reader, self.effort.judged, SEED)

    def find_model(self, name: str) -> Iterator[Finding]:
        model, (arms, settings) = self.models[name], self.plan(name)
        outcomes = run_study(
            model,
            arms,
            self.world.shop,
            self.audience,
            settings,
            self.reader,
            paste,
            label=name,
        )
        trials = arms["preserve/personalized"]
        for finding in (
            *find_taste(name, outcomes),
            *find_history(name, outcomes, trials, self.audience.num_clicks),
            *find_identity(name, outcomes),
            *find_dial(name, outcomes, settings),
            *find_quality(name, outcomes, self.reference, self.others),
            *find_steps(name, outcomes, settings, self.reference),
            *self.find_latency(name),
        ):
            yield finding if name == MAIN else replace(finding, target=None)

    def plan(self, name: str) -> tuple[dict[str, list[Trial]], Settings]:
        """What a model is asked for: a student only ever has its own few steps."""
        if name != STUDENT:
            return self.arms, self.settings
        own = f"steps/{STUDENT_STEPS}"
        arms = {
            arm: [replace(trial, num_steps=STUDENT_STEPS) for trial in trials]
            for arm, trials in self.arms.items()
            if arm == own or not arm.startswith("steps/")
        }
        return arms, replace(self.settings, num_steps=STUDENT_STEPS, steps=(STUDENT_STEPS,))

    def find_latency(self, name: str) -> Iterator[Finding]:
        model, some = self.models[name], self.plan(name)[0]["preserve/personalized"]
        some = (some * 16)[:16]
        orders = [*place_orders(model, some, self.world.shop, self.audience, self.settings)]
        for size, count in zip((1, 16), self.effort.batches, strict=True):
            ms = [1e3 * s for s in time_pictures(model, orders, size, count)]
            figure = Figure(float(np.median(ms)), min(ms), max(ms), count)
            yield Finding(
                "latency",
                "for each picture",
                f"batch of {size}",
                name,
                figure,
                "ms",
                better="lower",
            )

    def draw_sheets(self) -> list[Picture]:
        num_products, num_shoppers = self.effort.sheet
        rng = np.random.default_rng(SEED)
        is_held_out = self.world.shop.is_held_out
        sides = [rng.permutation(np.flatnonzero(side)) for side in (~is_held_out, is_held_out)]
        half = num_products // 2
        products = [*sides[0][: num_products - half].tolist(), *sides[1][:half].tolist()]
        shoppers = choose_shoppers(self.audience, num_shoppers, SEED)
        studio = Studio(self.world, self.audience, self.settings)
        main, baseline = self.models[MAIN], self.models.get(BASELINE)
        return [
            draw_grid(studio, main, products, shoppers, "preserve"),
            draw_grid(studio, main, products, shoppers, "restyle"),
            draw_side_by_side(studio, main, baseline, products[1 : half + 2], shoppers),
        ]


def prepare(folders: Folders, effort: Effort) -> Study:
    torch.manual_seed(SEED)
    main = ProductDiffusion.load(folders.checkpoint)
    models: dict[str, Model] = {MAIN: main}
    if folders.student.exists():
        models[STUDENT] = ProductDiffusion.load_student(folders.student, main)
    if folders.baseline.exists():
        models[BASELINE] = ConditionalGan.load(folders.baseline, main.encoders)
    world = open_world(main.encoders, folders.world)
    audience = SimulatedAudience(world, main.encoders, effort.shoppers, effort.creatives, SEED)
    settings = Settings(
        main.preset.num_steps,
        Defaults().strength,
        main.preset.max_shopper_scale,
        steps=effort.steps,
    )
    arms = plan_study(audience, world.shop, effort.study, settings, SEED)
    known = {t.shopper for arm in arms.values() for t in arm if t.given == "oracle"}
    audience.prepare_oracle(np.array(sorted(known)), effort.per_look, SEED)
    judge = load_judge(folders.judge)
    reader = Reader(judge, judge.read(world.packshots).product.numpy())
    rng = np.random.default_rng(SEED)
    real = render_features(world, reader, effort.reference, rng, UNSEEN_SEEDS)
    others = render_features(world, reader, effort.study.pairs, rng, 2 * UNSEEN_SEEDS)
    reference = Reference.of(real)
    return Study(
        *(effort, world, audience, models, main.digest, reader, settings, arms, reference, others)
    )


def render_features(
    world: World, reader: Reader, count: int, rng: np.random.Generator, first_seed: int
) -> Features:
    """What the judge sees in real creatives: any product in any look, untreated."""
    products = rng.integers(len(world.rows), size=count)
    looks = draw_looks(count, rng, natural=True)
    return reader.read(render_composites(world.shop, products, looks, first_seed), products)[2]
