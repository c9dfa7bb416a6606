"""What is compared, and how tea-tasting compares it.

All are means over shoppers, or ratios of two such means: shoppers are randomized, and images are
counted, so a ratio's variance is the delta method's. Where there was a time before, what a shopper
did in it explains part of what they did later, and is taken off (CUPED).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Literal

import numpy as np
import tea_tasting as tt
from tea_tasting.aggr import Aggregates
from tea_tasting.metrics.mean import MeanResult

from server.experiments.analysis import sequential
from server.experiments.analysis.columns import name_before
from server.experiments.analysis.moments import Moments, Pair, pair_up
from server.experiments.analysis.settings import AnalysisSettings

Unit = Literal["share", "money", "seconds"]


@dataclass(frozen=True, slots=True)
class Metric:
    """`above` over `below`, or `above` for each shopper where that is empty. `words` say what it
    is, as in "more clicks for each image"."""

    key: str
    title: str
    words: str
    above: str
    below: str = ""
    unit: Unit = "share"
    is_guardrail: bool = False

    @property
    def above_before(self) -> str:
        """Empty where the time before is not asked."""
        return "" if self.is_guardrail else name_before(self.above)

    @property
    def below_before(self) -> str:
        return "" if self.is_guardrail or not self.below else name_before(self.below)

    @property
    def names(self) -> tuple[str, ...]:
        names = (self.above, self.below, self.above_before, self.below_before)
        return tuple(name for name in names if name)

    @property
    def pairs(self) -> list[Pair]:
        return pair_up(self.names)

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "lower" if self.is_guardrail else "higher"


GOALS = (
    Metric("ctr", "Click-through rate", "clicks for each image", "clicks", "shown"),
    Metric("click_share", "Shoppers who click", "shoppers who click", "clicked"),
    Metric("conversion", "Shoppers who buy", "shoppers who buy", "bought"),
    Metric("value", "Value for each shopper", "value for each shopper", "value", unit="money"),
    Metric("cart_share", "Shoppers who fill a cart", "shoppers who fill a cart", "carted"),
    Metric("dwell", "Seconds looked at", "seconds for each image", "dwell", "shown", "seconds"),
)
Guardrail = partial(Metric, is_guardrail=True)
GUARDRAILS = (
    Guardrail("latency", "Latency", "seconds waited for an image", "latency", "shown", "seconds"),
    Guardrail("degraded", "Degraded images", "degraded images", "degraded", "shown"),
    Guardrail("refusals", "Refused requests", "refused requests", "refused", "asked"),
    Guardrail("hides", "Hidden images", "hidden images", "hides", "shown"),
    Guardrail("returns", "Returns", "returns for each purchase", "returns", "purchases"),
)
METRICS: Mapping[str, Metric] = {metric.key: metric for metric in GOALS + GUARDRAILS}


@dataclass(frozen=True, slots=True)
class Interval:
    """NaN where it can't be told."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        return self.low > value or self.high < value


NOWHERE = Interval(math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Estimate:
    """How much higher a metric is in an arm than in another: `effect` as a difference, `lift` as a
    share of the other's. Each has its interval for one look, and its sequential one."""

    value: float
    baseline_value: float
    effect: float
    effect_interval: Interval
    effect_sequential: Interval
    lift: float
    lift_interval: Interval
    lift_sequential: Interval
    p_value: float
    sequential_p_value: float
    variance_removed: float
    """Share of the variance that the time before explains; 0 where it was not asked."""
    num_units: int


def compare(
    metric: Metric, baseline: Moments, arm: Moments, settings: AnalysisSettings
) -> Estimate | None:
    """None where there is nothing to compare: no two shoppers in an arm, or no variance at all."""
    if min(baseline.count, arm.count) < 2:
        return None
    samples = [sample.aggregate(metric.names) for sample in (baseline, arm)]
    is_adjusted = can_adjust(metric, samples)
    test = make_test(metric, settings, is_adjusted=is_adjusted)
    try:
        with np.errstate(all="ignore"):  # where nobody bought there is no relative effect
            result = test.analyze_aggregates(*samples)
    except (ArithmeticError, ValueError):
        return None
    z, num_units = NormalDist().inv_cdf(1.0 - settings.alpha / 2), baseline.count + arm.count
    error = (result.effect_size_ci_upper - result.effect_size_ci_lower) / (2 * z)
    if not (math.isfinite(error) and error > 0):
        return None
    sequence = settings.alpha, settings.tuning_units
    reach = float(sequential.stretch(num_units, *sequence))
    lift, lift_interval, lift_sequential = _relate(result, reach / z)
    effect = float(result.effect_size)
    return Estimate(
        value=float(result.treatment),
        baseline_value=float(result.control),
        effect=effect,
        effect_interval=Interval(effect - z * error, effect + z * error),
        effect_sequential=Interval(effect - reach * error, effect + reach * error),
        lift=lift,
        lift_interval=lift_interval,
        lift_sequential=lift_sequential,
        p_value=float(result.pvalue),
        sequential_p_value=float(sequential.find_p_value(effect / error, num_units, *sequence)),
        variance_removed=_explain(metric, samples[0] + samples[1]) if is_adjusted else 0.0,
        num_units=num_units,
    )


def make_test(
    metric: Metric,
    settings: AnalysisSettings,
    *,
    is_adjusted: bool,
    **power: float,
) -> tt.RatioOfMeans:
    """By the normal distribution: samples are hundreds at least."""
    return tt.RatioOfMeans(
        metric.above,
        metric.below or None,
        (metric.above_before or None) if is_adjusted else None,
        (metric.below_before or None) if is_adjusted else None,
        confidence_level=1.0 - settings.alpha,
        alpha=settings.alpha,
        use_t=False,
        **power,
    )


def can_adjust(metric: Metric, samples: Iterable[Aggregates]) -> bool:
    """Whether each arm has a time before that says anything."""
    if not metric.above_before:
        return False
    below = metric.below_before or None
    return all(
        sample.mean(below) > 0 and sample.ratio_var(metric.above_before, below) > 0
        for sample in samples
    )


def _explain(metric: Metric, pooled: Aggregates) -> float:
    """Share of the metric's variance that is the time before's."""
    now = metric.above, metric.below or None
    before = metric.above_before, metric.below_before or None
    shared = pooled.ratio_cov(*now, *before) ** 2
    return float(shared / (pooled.ratio_var(*now) * pooled.ratio_var(*before)))


def _relate(result: MeanResult, widening: float) -> tuple[float, Interval, Interval]:
    """The lift, its interval for one look, and that one `widening` times as wide: on the scale of
    logarithms, on which a ratio is symmetrical. NaN where the baseline has none."""
    ends = result.rel_effect_size_ci_lower, result.rel_effect_size_ci_upper
    ratio = 1.0 + result.rel_effect_size
    if not (math.isfinite(ratio) and ratio > 0 and all(map(math.isfinite, ends)) and ends[0] > -1):
        return math.nan, NOWHERE, NOWHERE
    reach = math.exp(min(widening * math.log((1.0 + ends[1]) / ratio), 700.0))
    return ratio - 1.0, Interval(*ends), Interval(ratio / reach - 1.0, ratio * reach - 1.0)
