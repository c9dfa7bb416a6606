"""One arm against another, on numbers that were worked out by hand or by somebody else."""

import math

import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt
from scipy import stats

from server.experiments.analysis.metrics import METRICS, Estimate, compare
from server.experiments.analysis.moments import Moments
from server.experiments.analysis.settings import AnalysisSettings
from tests.server.experiments.analysis.test_moments import sum_up

SETTINGS = AnalysisSettings()


def buy(count: int, buyers: int, before: int = 0) -> Moments:
    """`buyers` of `count` shoppers bought, the first `before` of all had bought before."""
    bought = [1] * buyers + [0] * (count - buyers)
    past = [1] * before + [0] * (count - before)
    return sum_up(pd.DataFrame({"bought": bought, "pre_purchases": past}))


def estimate(
    metric: str, baseline: Moments, arm: Moments, settings: AnalysisSettings = SETTINGS
) -> Estimate:
    found = compare(METRICS[metric], baseline, arm, settings)
    assert found is not None
    return found


def draw(count: int, lift: float, seed: int) -> pd.DataFrame:
    """Who sees more images clicks more readily, and did so before."""
    rng = np.random.default_rng(seed)
    eager = rng.gamma(2.0, 0.5, count)
    shown, before = 1 + rng.poisson(6 * eager), 2 + rng.poisson(9 * eager)
    return pd.DataFrame(
        {
            "shown": shown,
            "clicks": rng.binomial(shown, np.minimum(0.08 * eager * lift, 1)),
            "pre_shown": before,
            "pre_clicks": rng.binomial(before, np.minimum(0.08 * eager, 1)),
        }
    )


def test_conversion_by_hand():
    """30 and 45 of 100: variances 0.21 and 0.2475 times 100 / 99."""
    found = estimate("conversion", buy(100, 30), buy(100, 45))
    error = math.sqrt((0.21 + 0.2475) / 99)
    assert (found.baseline_value, found.value) == (0.30, 0.45)
    assert found.effect == pytest.approx(0.15) and found.lift == pytest.approx(0.5)
    assert found.effect_interval.low == pytest.approx(0.15 - 1.959964 * error)
    assert found.effect_interval.high == pytest.approx(0.15 + 1.959964 * error)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(0.15 / error))
    assert found.num_units == 200 and found.variance_removed == 0


def test_the_lifts_interval_is_symmetrical_on_the_scale_of_logarithms():
    found = estimate("conversion", buy(100, 30), buy(100, 45))
    error = math.sqrt(0.21 / 99 / 0.3**2 + 0.2475 / 99 / 0.45**2)
    assert math.log(1 + found.lift_interval.high) == pytest.approx(math.log(1.5) + 1.959964 * error)
    assert math.log(1 + found.lift_interval.low) == pytest.approx(math.log(1.5) - 1.959964 * error)


def test_it_agrees_with_welch_of_scipy_on_many_shoppers():
    rng = np.random.default_rng(1)
    prices = [rng.lognormal(mean, 1.0, 20_000).round(2) for mean in (2.0, 2.02)]
    samples = [sum_up(pd.DataFrame({"value": each, "pre_value": 0})) for each in prices]
    found = estimate("value", samples[0], samples[1])
    theirs = stats.ttest_ind(prices[1], prices[0], equal_var=False)
    assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-2)
    assert found.effect_interval.low == pytest.approx(theirs.confidence_interval().low, rel=1e-3)


@pytest.mark.parametrize("has_past", [False, True])
def test_click_through_rates_agree_with_tea_tasting_on_rows(has_past):
    tables = [draw(3000, 1.0, 3), draw(3000, 1.2, 4)]
    if not has_past:
        tables = [table.assign(pre_shown=0, pre_clicks=0) for table in tables]
    found = estimate("ctr", sum_up(tables[0]), sum_up(tables[1]))
    rows = pd.concat([table.assign(variant=number) for number, table in enumerate(tables)])
    past = ("pre_clicks", "pre_shown") if has_past else ()
    test = tt.RatioOfMeans("clicks", "shown", *past, use_t=False)
    theirs = tt.Experiment({"ctr": test}).analyze(rows)["ctr"]
    assert found.effect == pytest.approx(theirs.effect_size)
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert found.effect_interval.low == pytest.approx(theirs.effect_size_ci_lower)
    assert found.lift_interval.high == pytest.approx(theirs.rel_effect_size_ci_upper)
    assert (found.variance_removed > 0.02) == has_past


def test_images_of_one_shopper_are_not_taken_for_independent():
    """Counted as if they were, the same images would have a far narrower interval."""
    tables = [draw(3000, 1.0, 5), draw(3000, 1.0, 6)]
    clicks, images = (np.array([t[name].sum() for t in tables]) for name in ("clicks", "shown"))
    rates = clicks / images
    naive = math.sqrt((rates * (1 - rates) / images).sum())
    samples = [sum_up(table.assign(pre_shown=0, pre_clicks=0)) for table in tables]
    found = estimate("ctr", samples[0], samples[1])
    reach = (found.effect_interval.high - found.effect_interval.low) / 2
    assert reach > 1.2 * 1.96 * naive


def test_a_past_that_explains_everything_leaves_the_effect_alone():
    """Who bought before buys again, and in one arm five more do: no noise is left but theirs."""
    plain = estimate("conversion", buy(200, 40), buy(200, 45))
    found = estimate("conversion", buy(200, 40, 40), buy(200, 45, 40))
    assert found.effect == pytest.approx(0.025) and plain.effect == pytest.approx(0.025)
    assert found.variance_removed > 0.9
    assert found.p_value < 0.05 < plain.p_value


def test_a_past_of_one_arm_only_is_not_used():
    found = estimate("conversion", buy(200, 40, 40), buy(200, 45, 0))
    assert found.variance_removed == 0 and found.effect == pytest.approx(0.025)


def test_the_sequential_interval_holds_the_other_and_agrees_with_its_p_value():
    for buyers in (31, 45, 60):
        found = estimate("conversion", buy(100, 30), buy(100, buyers))
        assert found.effect_sequential.low < found.effect_interval.low
        assert found.effect_sequential.high > found.effect_interval.high
        assert found.lift_sequential.low < found.lift_interval.low
        assert found.lift_sequential.high > found.lift_interval.high
        is_told = found.sequential_p_value <= SETTINGS.alpha
        assert found.effect_sequential.excludes(0.0) == is_told


def test_a_lower_alpha_makes_both_wider():
    strict = AnalysisSettings(alpha=0.01)
    usual, wide = (
        estimate("conversion", buy(100, 30), buy(100, 45), s) for s in (SETTINGS, strict)
    )
    assert wide.effect_interval.low < usual.effect_interval.low
    assert wide.effect_sequential.low < usual.effect_sequential.low
    assert wide.p_value == usual.p_value


@pytest.mark.parametrize("counts", [(0, 100), (100, 0), (1, 100)])
def test_without_two_shoppers_in_each_arm_there_is_nothing_to_compare(counts):
    samples = [buy(count, 0) for count in counts]
    assert compare(METRICS["conversion"], samples[0], samples[1], SETTINGS) is None


@pytest.mark.parametrize("buyers", [(0, 0), (100, 100)])
def test_without_any_variance_there_is_nothing_to_compare(buyers):
    samples = [buy(100, count) for count in buyers]
    assert compare(METRICS["conversion"], samples[0], samples[1], SETTINGS) is None


def test_against_nobody_who_bought_there_is_an_effect_but_no_lift():
    found = estimate("conversion", buy(100, 0), buy(100, 20))
    assert found.effect == pytest.approx(0.2) and found.effect_interval.excludes(0.0)
    assert math.isnan(found.lift) and math.isnan(found.lift_sequential.high)


def test_images_that_nobody_saw_have_no_rate():
    nothing = pd.DataFrame({name: [0, 0, 0] for name in METRICS["ctr"].names})
    assert compare(METRICS["ctr"], sum_up(nothing), sum_up(nothing), SETTINGS) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("power", math.nan),
        ("effect", -0.1),
        ("tuning_units", 0),
        ("min_units", 0),
        ("num_threads", 0),
        ("pre_period_days", -1.0),
        ("min_days", math.inf),
        ("num_segments", -1),
        ("memory_gib", 0.0),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"analysis.{name} must"):
        AnalysisSettings(**{name: value})
