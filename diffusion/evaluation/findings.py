"""From what the judge read to figures: what is claimed, of which model, with which target."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffusion.evaluation.metrics import (
    Figure,
    Reference,
    estimate_difference,
    estimate_frechet,
    estimate_mismatch,
    estimate_rate,
    estimate_ratio,
)
from diffusion.evaluation.study import HISTORY_BINS, LONG_BINS, Indices, Outcome, Settings, Trial
from diffusion.looks import AXES

Unit = Literal["share", "distance", "ms"]
OF_ORACLE = 0.85
FROM_CHANCE = 0.03
IDENTITY_LOST = 0.02
TARGET_AXES = {"preserve": ("palette", "setting"), "restyle": ("treatment",)}
IDENTITY_TARGETS = {
    ("preserve", "as shown", "all"): 0.99,
    ("preserve", "before paste-back", "all"): 0.95,
    ("restyle", "as shown", "trained products"): 0.95,
    ("restyle", "as shown", "held-out products"): 0.90,
}

Outcomes = Mapping[str, Outcome]
Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure: `measure` of `model` in the situation `at`; without a target it is told for
    information."""

    section: str
    measure: str
    at: str
    model: str
    figure: Figure
    unit: Unit = "share"
    target: float | None = None
    better: Literal["higher", "lower"] = "higher"

    @property
    def holds(self) -> bool | None:
        if self.target is None:
            return None
        value = self.figure.value
        return value >= self.target if self.better == "higher" else value <= self.target

    @property
    def name(self) -> str:
        words = f"{self.section} {self.measure} {self.at} {self.model}".replace("+", " or more")
        bare = unicodedata.normalize("NFKD", words.lower()).encode("ascii", "ignore").decode()
        kept = "".join(c if c.isalnum() or c == "." else " " for c in bare)
        return "_".join(kept.split())


def find_taste(model: str, outcomes: Outcomes) -> Iterator[Finding]:
    for task in TARGET_AXES:
        axes = ("palette", "setting") if task == "preserve" else tuple(AXES)
        known, oracle = outcomes[f"{task}/personalized"], outcomes[f"{task}/oracle"]
        generic = outcomes[f"{task}/generic"]
        for axis in axes:
            is_target = axis in TARGET_AXES[task]
            hits, best = known.hits(axis), oracle.hits(axis)
            column = list(AXES).index(axis)
            mismatch = estimate_mismatch(known.shown_looks[:, column], known.tastes[:, column])
            figures = {
                "oracle": (estimate_rate(best), None),
                "personalized": (estimate_rate(hits), None),
                "generic": (estimate_rate(generic.hits(axis)), None),
                "mismatched": (mismatch, None),
                "personalized / oracle": (estimate_ratio(hits, best), OF_ORACLE),
            }
            for at, (figure, target) in figures.items():
                wanted = target if is_target else None
                yield Finding("taste", f"{axis}, {task}", at, model, figure, target=wanted)
            off = keep_away(mismatch, 1 / len(AXES[axis]))
            wanted = FROM_CHANCE if is_target else None
            at = "mismatched - chance"
            yield Finding("taste", f"{axis}, {task}", at, model, off, target=wanted, better="lower")


def keep_away(figure: Figure, chance: float) -> Figure:
    """How far a rate is from chance, either way."""
    ends = sorted((abs(figure.low - chance), abs(figure.high - chance)))
    low = 0.0 if figure.low <= chance <= figure.high else ends[0]
    return Figure(abs(figure.value - chance), low, ends[1], figure.n)


def find_identity(model: str, outcomes: Outcomes) -> Iterator[Finding]:
    for task in TARGET_AXES:
        outcome = outcomes[f"{task}/personalized"]
        stages = {"as shown": outcome.shown_found}
        if task == "preserve":
            stages["before paste-back"] = outcome.raw_found
        groups = {
            "all": np.ones(len(outcome), np.bool_),
            "trained products": ~outcome.is_held_out,
            "held-out products": outcome.is_held_out,
        }
        for stage, found in stages.items():
            for group, members in groups.items():
                if members.any():
                    figure = estimate_rate(found[members])
                    target = IDENTITY_TARGETS.get((task, stage, group))
                    measure = f"{task}, {stage}"
                    yield Finding("identity", measure, group, model, figure, target=target)


def find_quality(
    model: str, outcomes: Outcomes, reference: Reference, others: Features
) -> Iterator[Finding]:
    """`others` [n, features] are of further real composites: how far two sets of them lie apart."""
    compared = {
        "personalized": outcomes["preserve/personalized"],
        "generic": outcomes["preserve/generic"],
    }
    for stage in ("as shown", "before paste-back"):
        sets = {at: _features(outcome, stage) for at, outcome in compared.items()}
        sets["real composites"] = others[: len(compared["generic"])]
        for at, features in sets.items():
            figure = estimate_frechet(features, reference)
            measure = f"Fréchet distance, {stage}"
            yield Finding("quality", measure, at, model, figure, "distance", better="lower")


def _features(outcome: Outcome, stage: str) -> Features:
    return outcome.shown_features if stage == "as shown" else outcome.raw_features


def find_dial(model: str, outcomes: Outcomes, settings: Settings) -> Iterator[Finding]:
    known, generic = outcomes["preserve/personalized"], outcomes["preserve/generic"]
    for strength in settings.strengths:
        outcome = outcomes.get(f"dial/{strength:g}")
        outcome = outcome or (generic if strength == 0 else known)
        measures = {axis: outcome.hits(axis) for axis in TARGET_AXES["preserve"]}
        measures["identity before paste-back"] = outcome.raw_found
        for measure, hits in measures.items():
            yield Finding("dial", measure, f"{strength:g}", model, estimate_rate(hits))
    lost = estimate_difference(generic.raw_found, known.raw_found)
    at, measure = f"0 to {settings.strength:g}", "identity lost"
    yield Finding("dial", measure, at, model, lost, target=IDENTITY_LOST, better="lower")


def find_steps(
    model: str, outcomes: Outcomes, settings: Settings, reference: Reference
) -> Iterator[Finding]:
    """Of as many pictures each; of a model that knows one number of steps, none."""
    arms = {k: outcomes.get(f"steps/{k}") for k in settings.steps}
    count = max((len(outcome) for outcome in arms.values() if outcome), default=0)
    for num_steps, outcome in arms.items() if count else ():
        arm = outcome or outcomes["preserve/personalized"]
        at = str(num_steps)
        distance = estimate_frechet(arm.raw_features[:count], reference)
        measure = "Fréchet distance before paste-back"
        yield Finding("steps", measure, at, model, distance, "distance", better="lower")
        measures = {axis: arm.hits(axis)[:count] for axis in TARGET_AXES["preserve"]}
        measures["identity before paste-back"] = arm.raw_found[:count]
        for measure, hits in measures.items():
            yield Finding("steps", measure, at, model, estimate_rate(hits))


def find_history(
    model: str, outcomes: Outcomes, trials: Sequence[Trial], num_clicks: Indices
) -> Iterator[Finding]:
    """Who has no history gets the generic picture. `trials` are those of preserve/personalized."""
    known = outcomes["preserve/personalized"]
    lengths = num_clicks[[trial.shopper for trial in trials]]
    for axis in TARGET_AXES["preserve"]:
        hits = {"0": outcomes["preserve/generic"].hits(axis)}
        for name, (fewest, most) in HISTORY_BINS.items():
            if name in LONG_BINS:
                hits[name] = known.hits(axis)[(lengths >= fewest) & (lengths <= most)]
            elif f"history/{name}" in outcomes:
                hits[name] = outcomes[f"history/{name}"].hits(axis)
        for name, found in hits.items():
            if len(found):
                yield Finding("history", axis, name, model, estimate_rate(found))
