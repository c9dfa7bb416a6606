"""Which arms are compared, and how many comparisons are accounted for."""

from dataclasses import replace

import pytest

from server.core import Arm
from server.experiments.analysis.contrasts import contrast, correct, pair_arms
from server.experiments.analysis.moments import Moments
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.definition import Changes, ExperimentArm
from tests.server.experiments.analysis.shop import define
from tests.server.experiments.analysis.test_metrics import buy

SETTINGS = AnalysisSettings(goal="conversion")


def test_personalization_is_held_against_generic_pictures_too():
    assert pair_arms(define()) == [
        ("original", "generic"),
        ("original", "personalized"),
        ("generic", "personalized"),
    ]


def test_the_control_is_the_one_that_is_named():
    experiment = replace(define(), control="generic")
    assert pair_arms(experiment) == [("generic", "original"), ("generic", "personalized")]


def test_no_pair_is_compared_twice():
    arms = (
        ExperimentArm("a", 0.5, Changes(Arm.PERSONALIZED)),
        ExperimentArm("b", 0.5, Changes(Arm.GENERIC)),
    )
    assert pair_arms(replace(define(), arms=arms)) == [("a", "b")]


def test_holm_by_hand():
    """0.01 · 3, then 0.02 · 2, then never less than before."""
    assert correct([0.03, 0.01, 0.02], "holm") == pytest.approx([0.04, 0.03, 0.04])


def test_benjamini_and_hochberg_by_hand():
    """0.01 · 4, 0.02 · 4 / 2, 0.03 · 4 / 3 and 0.5; none more than a larger one."""
    found = correct([0.5, 0.01, 0.02, 0.03], "benjamini-hochberg")
    assert found == pytest.approx([0.5, 0.04, 0.04, 0.04])


def test_uncorrected_values_and_none_at_all_stay_as_they_are():
    assert correct([0.2, 0.1], "none") == [0.2, 0.1]
    assert correct([], "holm") == []


def test_p_values_never_exceed_one():
    assert correct([0.9, 0.8, 0.7], "holm") == [1.0, 1.0, 1.0]


def samples(*buyers: int) -> dict[str, Moments]:
    arms = ("original", "generic", "personalized")
    return {arm: buy(1000, count) for arm, count in zip(arms, buyers, strict=True)}


def test_the_goal_is_corrected_for_arms_and_guardrails_are_not():
    arms = samples(100, 130, 160)
    found = contrast(define(), {"conversion": arms}, SETTINGS, is_over=True)
    assert [(c.baseline, c.arm) for c in found] == pair_arms(define())
    values = sorted(c.estimate.p_value for c in found)
    assert min(c.p_corrected for c in found) == pytest.approx(3 * values[0])


def test_until_the_end_the_sequential_interval_decides():
    """100 against 135 of 1000 is p = 0.015 in one look, which is not enough for looking always."""
    arms = samples(100, 100, 140)
    running = contrast(define(), {"conversion": arms}, SETTINGS, is_over=False)
    over = contrast(define(), {"conversion": arms}, SETTINGS, is_over=True)
    assert [c.outcome for c in running] == ["undecided"] * 3
    assert [c.outcome for c in over] == ["undecided", "better", "better"]


def test_less_is_worse_for_a_goal_and_an_empty_arm_is_not_compared():
    arms = samples(300, 100, 300) | {"personalized": buy(0, 0)}
    (found,) = contrast(define(), {"conversion": arms}, SETTINGS, is_over=True)
    assert (found.arm, found.outcome) == ("generic", "worse")
