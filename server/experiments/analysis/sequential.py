"""Intervals that stay right however often somebody looks.

The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021, "Time-
uniform central limit theory and asymptotic confidence sequences", arXiv 2103.06476): Robbins'
normal mixture around an estimate whose standard error shrinks with the number of shoppers. It
covers the truth at all times at once, so a test may be stopped whenever it excludes zero; the price
is its width, 1.5 to 2 times that of an interval for one look.

Its one parameter is where it is narrowest: at how many shoppers. It has to be chosen before
anything is seen. Far from there it is wider, and no less right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

Number = float | NDArray[np.float64]


def find_rate(alpha: float, tuning_units: float) -> float:
    """rho² of the paper: makes the interval narrowest at so many shoppers."""
    branch = lambertw(-(alpha**2) * np.exp(-1.0), k=-1).real
    return float((-branch - 1.0) / tuning_units)


def stretch(num_units: Number, alpha: float, tuning_units: float) -> Number:
    """Half the width of the interval at `num_units` shoppers, in standard errors of the estimate
    at that time; an interval for one look has 1.96."""
    rate = find_rate(alpha, tuning_units)
    grown = num_units * rate + 1.0
    squared: Number = 2.0 * grown / (num_units * rate) * (0.5 * np.log(grown) - np.log(alpha))
    return np.sqrt(squared)


def find_p_value(z: Number, num_units: Number, alpha: float, tuning_units: float) -> Number:
    """The least level whose sequence, with the rate of `alpha`, excludes zero for an estimate that
    is `z` standard errors from it. It may be looked at as often as one likes."""
    rate = find_rate(alpha, tuning_units)
    grown = num_units * rate + 1.0
    p: Number = np.minimum(1.0, np.sqrt(grown) * np.exp(-(z**2) * num_units * rate / (2 * grown)))
    return p
