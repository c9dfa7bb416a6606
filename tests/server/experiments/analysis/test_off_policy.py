"""What each arm would have brought, on choices whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.experiments_errors import draw_decisions, find_arm_values
from server.experiments.analysis.off_policy import (
    Decisions,
    estimate_arms,
    estimate_logged,
    estimate_policy,
    predict_rewards,
)

ARMS = ("a", "b", "c")
TRUTHS = find_arm_values()


def flip(seed: int, count: int = 20_000) -> Decisions:
    """Arm 0 rewards 0.2, arm 1 0.4, whatever the context; 1 is chosen with 0.8."""
    rng = np.random.default_rng(seed)
    arms = (rng.random(count) < 0.8).astype(np.int64)
    rewards = (rng.random(count) < 0.2 * (1 + arms)).astype(np.float64)
    propensities = np.where(arms == 1, 0.8, 0.2)
    return Decisions(np.arange(count), arms, propensities, rewards, np.zeros((count, 0)), 2)


def test_of_four_decisions_by_hand():
    """Weights of arm 1 are 0, 2, 0, 4: (2 · 1 + 4 · 0) / 4, and / 6."""
    decisions = Decisions(
        units=np.arange(4),
        arms=np.array([0, 1, 0, 1]),
        propensities=np.array([0.5, 0.5, 0.75, 0.25]),
        rewards=np.array([1.0, 1.0, 0.0, 0.0]),
        contexts=np.zeros((4, 0)),
        num_arms=2,
    )
    policy = np.tile([0.0, 1.0], (4, 1))
    found = estimate_policy("b", decisions, policy, np.zeros((4, 2)), 0.05)
    assert found.ips.value == pytest.approx(0.5)
    assert found.snips.value == pytest.approx(2 / 6)
    assert found.dr.value == pytest.approx(0.5)  # of a model that expects nothing
    assert found.mean_weight.value == pytest.approx(1.5) and found.max_weight == 4
    assert found.effective_share == pytest.approx(36 / 20 / 4)
    assert estimate_logged(decisions, 0.05).value == 0.5


def test_all_three_find_what_each_arm_would_have_brought():
    for truth, found in zip((0.2, 0.4), estimate_arms(flip(1), ("x", "y"), 0.05), strict=True):
        for value in (found.ips, found.snips, found.dr):
            assert value.interval.low < truth < value.interval.high
            assert value.value == pytest.approx(truth, abs=0.02)
        assert not found.mean_weight.interval.excludes(1.0)


def test_choices_that_follow_the_context_mislead_whoever_compares_arms_as_they_are():
    decisions = draw_decisions(np.random.default_rng(2))
    naive = [decisions.rewards[decisions.arms == arm].mean() for arm in range(3)]
    found = estimate_arms(decisions, ARMS, 0.05)
    for arm in (1, 2):
        assert abs(found[arm].dr.value - TRUTHS[arm]) < 0.02 < naive[arm] - TRUTHS[arm] - 0.03


def test_a_model_of_the_reward_takes_noise_off():
    """With a reward that is what the context says and hardly anything else."""
    decisions = draw_decisions(np.random.default_rng(3))
    slopes = np.array([[1.0, 2.0], [-1.0, 1.0], [2.0, 0.0]])
    exact = 5.0 + (slopes[decisions.arms] * decisions.contexts).sum(axis=1)
    for found in estimate_arms(replace(decisions, rewards=exact), ARMS, 0.05):
        widths = [v.interval.high - v.interval.low for v in (found.ips, found.dr)]
        assert widths[1] < 0.5 * widths[0]


def test_a_right_model_makes_up_for_wrong_propensities():
    decisions = draw_decisions(np.random.default_rng(4))
    slopes = np.array([[1.0, 2.0], [-1.0, 1.0], [2.0, 0.0]])
    rewards = 1.0 + (slopes[decisions.arms] * decisions.contexts).sum(axis=1)
    wrong = np.full(len(decisions), 0.2)
    found = estimate_arms(replace(decisions, rewards=rewards, propensities=wrong), ARMS, 0.05)
    assert all(not each.dr.interval.excludes(1.0) for each in found)
    assert any(each.ips.interval.excludes(1.0) for each in found)


def test_wrong_propensities_show_in_the_weights():
    decisions = flip(5)
    swapped = replace(decisions, propensities=1.0 - decisions.propensities)
    found = estimate_arms(swapped, ("x", "y"), 0.05)
    assert all(each.mean_weight.interval.excludes(1.0) for each in found)


def test_many_decisions_of_few_shoppers_know_less_than_they_seem():
    """The same decisions once by 20,000 shoppers, once ten each with one reward."""
    one = flip(6, 2000)
    many = Decisions(
        np.repeat(one.units, 10),
        np.repeat(one.arms, 10),
        np.repeat(one.propensities, 10),
        np.repeat(one.rewards, 10),
        np.zeros((20_000, 0)),
        2,
    )
    alone = replace(many, units=np.arange(20_000))
    widths = []
    for decisions in (one, many, alone):
        interval = estimate_arms(decisions, ("x", "y"), 0.05)[0].ips.interval
        widths.append(interval.high - interval.low)
    assert widths[1] == pytest.approx(widths[0]) and widths[2] < 0.4 * widths[0]


def test_a_model_is_not_fitted_to_the_shopper_whom_it_predicts():
    """Pure noise can't be foretold: of a model that knew it, what is left would be smaller."""
    rng = np.random.default_rng(7)
    contexts = rng.normal(size=(200, 30))
    decisions = Decisions(
        np.arange(200),
        np.zeros(200, np.int64),
        np.ones(200),
        rng.normal(size=200),
        contexts,
        1,
    )
    surprise = decisions.rewards - predict_rewards(decisions)[:, 0]
    assert surprise.var() > decisions.rewards.var()


def test_nobody_has_no_value():
    nobody = flip(9, 0)
    assert all(np.isnan(found.dr.value) for found in estimate_arms(nobody, ("x", "y"), 0.05))


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        ("propensities", np.array([0.5, 0.0]), "propensities must be above 0 and at most 1"),
        ("propensities", np.array([0.5, 1.1]), "propensities must be above 0 and at most 1"),
        ("propensities", np.array([0.5, np.nan]), "propensities must be above 0 and at most 1"),
        ("rewards", np.array([1.0, np.inf]), "rewards and contexts must be finite"),
        ("contexts", np.array([[0.0], [np.nan]]), "rewards and contexts must be finite"),
        ("arms", np.array([0, 2]), "arms must be numbers from 0 to 1"),
        ("rewards", np.array([1.0]), "different lengths"),
    ],
)
def test_decisions_that_cant_be_are_refused(part, value, text):
    good = flip(8, 2)
    bad = {"contexts": np.zeros((2, 1))} | {part: value}
    with pytest.raises(ValueError, match=text):
        replace(good, **bad)
