"""Intervals that may be looked at at any time."""

import math

import numpy as np
import pytest

from server.experiments.analysis.sequential import find_p_value, find_rate, stretch

ALPHA = 0.05


def test_it_is_narrowest_where_it_is_tuned_to():
    units = np.arange(100.0, 50_000.0, 10.0)
    widths = stretch(units, ALPHA, 5000) / np.sqrt(units)
    relative = widths * np.sqrt(units)  # in standard errors at that time
    assert units[np.argmin(relative)] == pytest.approx(5000, rel=0.01)
    assert 1.96 < relative.min() < 3.1


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_exact_rate_is_near_the_approximation_of_the_paper(alpha):
    """Waudby-Smith and others, appendix B.2: -2 log alpha + log(-2 log alpha) + 1, over t."""
    inner = -2 * math.log(alpha)
    assert find_rate(alpha, 5000) == pytest.approx((inner + math.log(inner) + 1) / 5000, rel=0.1)


def test_a_known_width():
    """By hand at rate 1 / 100, 300 shoppers: 2 · 4 / 3 · (log 2 + log 20)."""
    tuning = find_rate(ALPHA, 1.0) * 100
    expected = math.sqrt(8 / 3 * math.log(40))
    assert stretch(300.0, ALPHA, tuning) == pytest.approx(expected)


def test_the_p_value_is_alpha_where_the_interval_touches_zero():
    for units in (50.0, 5000.0, 300_000.0):
        z = stretch(units, ALPHA, 5000)
        assert find_p_value(z, units, ALPHA, 5000) == pytest.approx(ALPHA)
        assert find_p_value(1.01 * z, units, ALPHA, 5000) < ALPHA
        assert find_p_value(0.99 * z, units, ALPHA, 5000) > ALPHA
    assert find_p_value(0.0, 5000.0, ALPHA, 5000) == 1.0


def test_of_walks_without_a_drift_few_ever_leave_it():
    """Each of 4000 walks is looked at after each of its 2000 steps."""
    rng, steps = np.random.default_rng(0), np.arange(1, 2001)
    reach = stretch(steps.astype(np.float64), ALPHA, 500) * np.sqrt(steps)
    left = left_for_one_look = 0
    for _ in range(8):
        walks = rng.normal(size=(500, 2000)).cumsum(axis=1)
        left += int((np.abs(walks) > reach).any(axis=1).sum())
        left_for_one_look += int((np.abs(walks) > 1.96 * np.sqrt(steps)).any(axis=1).sum())
    assert left / 4000 < ALPHA
    assert left_for_one_look / 4000 > 0.5
