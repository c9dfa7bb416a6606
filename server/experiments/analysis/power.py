"""What could be seen by now, and how long the rest takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.optimize import brentq

from server.experiments.analysis import sequential
from server.experiments.analysis.aggregate import Day
from server.experiments.analysis.metrics import Metric, can_adjust, make_test
from server.experiments.analysis.moments import Moments
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.analysis.tables import DAY_S

RATE_DAYS = 7
"""New shoppers are counted over the last of these days."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """For two arms on the goal. Lifts are shares of the baseline; NaN where it has none.

    `detectable_lift` is what is found with the settings' power by now, in one look. `units` and
    `days` are what finding the settings' effect takes in all and from now on: for one look at the
    end, and with the sequential interval however often somebody looks.
    """

    baseline: str
    arm: str
    detectable_lift: float
    units: float
    days: float
    sequential_units: float
    sequential_days: float


def look_ahead(
    metric: Metric,
    arms: tuple[str, str],
    samples: tuple[Moments, Moments],
    units_per_day: float,
    settings: AnalysisSettings,
) -> Outlook:
    """`units_per_day` are the new shoppers of both arms together."""
    baseline, arm = samples
    have = baseline.count + arm.count
    sample = baseline.aggregate(metric.names)
    unknown = Outlook(*arms, *[math.nan] * 5)
    if min(baseline.count, arm.count) < 2 or not sample.mean(metric.above) > 0:
        return unknown
    if not sample.mean(metric.below or None) > 0:
        return unknown
    is_adjusted = can_adjust(metric, [sample])
    shared = {"power": settings.power, "ratio": arm.count / baseline.count}
    now = make_test(metric, settings, is_adjusted=is_adjusted, n_obs=have, **shared)
    then = make_test(
        metric, settings, is_adjusted=is_adjusted, rel_effect_size=settings.effect, **shared
    )
    try:
        with np.errstate(all="ignore"):
            (found,) = now.solve_power_from_aggregates(sample, "rel_effect_size")
            (needed,) = then.solve_power_from_aggregates(sample, "n_obs")
    except (ArithmeticError, ValueError):
        return unknown
    units = float(needed.n_obs)
    later = wait_for_sequence(units, settings)
    once, always = (_wait(each - have, units_per_day) for each in (units, later))
    return Outlook(*arms, float(found.rel_effect_size), units, once, later, always)


def _wait(missing: float, units_per_day: float) -> float:
    if missing <= 0:
        return 0.0
    return missing / units_per_day if units_per_day > 0 else math.inf


def wait_for_sequence(units: float, settings: AnalysisSettings) -> float:
    """Shoppers for which the sequential interval finds what `units` find in one look.

    An effect is as many standard errors from zero as the square root of the shoppers, and is found
    with the settings' power where it is that far beyond the interval's reach.
    """
    normal = NormalDist()
    spare = normal.inv_cdf(settings.power)
    distance = (normal.inv_cdf(1.0 - settings.alpha / 2) + spare) / math.sqrt(units)

    def lacks(count: float) -> float:
        reach = sequential.stretch(count, settings.alpha, settings.tuning_units)
        return float(distance * math.sqrt(count) - reach - spare)

    high = 2.0 * units
    while lacks(high) < 0:
        high *= 2
    return float(brentq(lacks, units, high))


def measure_rate(days: Sequence[Day], arms: Sequence[str], first_s: float, last_s: float) -> float:
    """New shoppers a day in these arms, over the last days on which there were images."""
    shown = [day for day in days if day.start_s <= last_s]
    if not shown:
        return 0.0
    counts = [0, *(sum(day.samples[arm].count for arm in arms) for day in shown)]
    starts_s = [first_s, *(day.start_s + DAY_S for day in shown)]
    since = max(0, len(shown) - RATE_DAYS)
    return (counts[-1] - counts[since]) * DAY_S / max(last_s - starts_s[since], 1.0)
