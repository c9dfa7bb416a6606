"""Arm against arm on each metric, corrected for how many there are.

What decides is one metric, so its corrections are for arms alone: Holm's, which keeps the chance of
any false decision at alpha. Other metrics are told with Benjamini and Hochberg's, which keeps the
share of false ones among those called different. Guardrails are not corrected: a false alarm there
costs less than silence. Segments are corrected by Holm over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import tea_tasting as tt
from tea_tasting.experiment import ExperimentResult

from server.core import Arm
from server.experiments.analysis.aggregate import Samples
from server.experiments.analysis.metrics import METRICS, Estimate, Metric, compare
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.definition import Experiment

Outcome = Literal["better", "worse", "undecided"]
Correction = Literal["holm", "benjamini-hochberg", "none"]


@dataclass(frozen=True, slots=True)
class Comparison:
    metric: Metric
    baseline: str
    arm: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Contrast:
    """`arm` against `baseline` on a metric. `outcome` goes by the corrected p-value of those that
    decide: for one look where the experiment is over, else the sequential one."""

    metric: str
    baseline: str
    arm: str
    estimate: Estimate
    p_corrected: float
    sequential_p_corrected: float
    outcome: Outcome


def name_control(experiment: Experiment) -> str:
    return experiment.control or experiment.arms[0].name


def pair_arms(experiment: Experiment) -> list[tuple[str, str]]:
    """Baseline and arm: each against the control, and what is personalized against what is
    generic, since any background lifts clicks and would be taken for personalization."""
    control = name_control(experiment)
    pairs = [(control, arm.name) for arm in experiment.arms if arm.name != control]
    shown: dict[Arm, list[str]] = {kind: [] for kind in Arm}
    for arm in experiment.arms:
        shown[arm.changes.shows].append(arm.name)
    for generic in shown[Arm.GENERIC]:
        for personalized in shown[Arm.PERSONALIZED]:
            if (generic, personalized) not in pairs and (personalized, generic) not in pairs:
                pairs.append((generic, personalized))
    return pairs


def contrast(
    experiment: Experiment,
    samples: Mapping[str, Samples],
    settings: AnalysisSettings,
    *,
    is_over: bool,
) -> list[Contrast]:
    """Of all metrics; `samples` are those of each, by its key."""
    families: dict[Correction, list[Comparison]] = {}
    for key in samples:
        family = families.setdefault(_choose(METRICS[key], settings), [])
        family += compare_arms(experiment, METRICS[key], samples[key], settings)
    found = [
        each
        for correction, family in families.items()
        for each in judge(family, correction, settings, is_over=is_over)
    ]
    order = list(samples)
    return sorted(found, key=lambda each: order.index(each.metric))


def compare_arms(
    experiment: Experiment, metric: Metric, samples: Samples, settings: AnalysisSettings
) -> list[Comparison]:
    """Of the pairs in which there is something to compare."""
    found = []
    for baseline, arm in pair_arms(experiment):
        if estimate := compare(metric, samples[baseline], samples[arm], settings):
            found.append(Comparison(metric, baseline, arm, estimate))
    return found


def judge(
    family: Sequence[Comparison],
    correction: Correction,
    settings: AnalysisSettings,
    *,
    is_over: bool,
) -> list[Contrast]:
    """Those that are asked together, corrected together."""
    once = correct([each.estimate.p_value for each in family], correction)
    always = correct([each.estimate.sequential_p_value for each in family], correction)
    contrasts = []
    for each, p_value, sequential_p_value in zip(family, once, always, strict=True):
        is_decided = (p_value if is_over else sequential_p_value) <= settings.alpha
        is_good = (each.estimate.effect > 0) == (each.metric.better == "higher")
        outcome: Outcome = "undecided" if not is_decided else "better" if is_good else "worse"
        names = each.metric.key, each.baseline, each.arm
        contrasts.append(Contrast(*names, each.estimate, p_value, sequential_p_value, outcome))
    return contrasts


def correct(p_values: Sequence[float], correction: Correction) -> list[float]:
    """By tea-tasting, in the same order."""
    if correction == "none" or not p_values:
        return list(p_values)
    named = {"": ExperimentResult({str(i): {"pvalue": p} for i, p in enumerate(p_values)})}
    if correction == "holm":
        adjusted = tt.adjust_fwer(named, arbitrary_dependence=True, method="bonferroni")
    else:
        adjusted = tt.adjust_fdr(named)
    return [float(adjusted[""][str(i)]["pvalue_adj"]) for i in range(len(p_values))]


def _choose(metric: Metric, settings: AnalysisSettings) -> Correction:
    if metric.is_guardrail:
        return "none"
    return "holm" if metric.key == settings.goal else "benjamini-hochberg"
