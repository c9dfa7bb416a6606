"""What could be seen by now, and how long the rest takes."""

import math

import pytest

from server.experiments.analysis.aggregate import Day
from server.experiments.analysis.metrics import METRICS
from server.experiments.analysis.power import look_ahead, measure_rate, wait_for_sequence
from server.experiments.analysis.settings import AnalysisSettings
from tests.server.experiments.analysis.shop import DAY_S, START_S
from tests.server.experiments.analysis.test_metrics import buy

SETTINGS = AnalysisSettings(effect=0.1)
ARMS = ("original", "generic")


def look(one, other, per_day=100.0):
    return look_ahead(METRICS["conversion"], ARMS, (one, other), per_day, SETTINGS)


def test_the_textbooks_number_of_shoppers():
    """2 · 2 · (1.96 + 0.8416)² · 0.2 · 0.8 / 0.02² in both arms."""
    found = look(buy(1000, 200), buy(1000, 210))
    expected = 4 * (1.959964 + 0.841621) ** 2 * 0.16 * 1000 / 999 / 0.02**2
    assert found.units == pytest.approx(expected, rel=1e-3)
    assert found.days == pytest.approx((found.units - 2000) / 100)
    assert found.detectable_lift == pytest.approx(0.1 * math.sqrt(expected / 2000), rel=1e-3)


def test_unequal_arms_need_more_shoppers():
    assert look(buy(1000, 200), buy(4000, 800)).units > look(buy(1000, 200), buy(1000, 200)).units


def test_looking_always_costs_shoppers():
    found = look(buy(1000, 200), buy(1000, 210))
    assert 1.3 * found.units < found.sequential_units < 3 * found.units
    assert found.sequential_days > found.days
    assert wait_for_sequence(found.units, SETTINGS) == found.sequential_units


def test_who_has_enough_waits_no_longer_and_whom_nobody_joins_forever():
    assert look(buy(50_000, 10_000), buy(50_000, 10_000)).days == 0
    assert look(buy(1000, 200), buy(1000, 210), per_day=0.0).days == math.inf


@pytest.mark.parametrize("samples", [(buy(100, 0), buy(100, 5)), (buy(1, 1), buy(100, 5))])
def test_without_a_baseline_nothing_is_foretold(samples):
    found = look(*samples)
    assert math.isnan(found.units) and math.isnan(found.detectable_lift)


def test_the_rate_is_that_of_the_last_seven_days_with_images():
    """10 a day for ten days, then 20 a day for ten; then outcomes alone."""
    counts = [10 * day if day <= 10 else 100 + 20 * (day - 10) for day in range(1, 21)]
    days = [
        Day(START_S + DAY_S * i, {"original": buy(c, 0), "generic": buy(c, 0)})
        for i, c in enumerate([*counts, 300, 300])
    ]
    last_s = START_S + 20 * DAY_S - 1
    assert measure_rate(days, ("original",), START_S, last_s) == pytest.approx(20, rel=1e-3)
    assert measure_rate(days, ARMS, START_S, last_s) == pytest.approx(40, rel=1e-3)
    assert measure_rate(days[:2], ARMS, START_S, START_S + DAY_S) == pytest.approx(40)
    assert measure_rate([], ARMS, math.nan, math.nan) == 0
