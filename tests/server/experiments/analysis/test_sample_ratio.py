"""Whether the arms have the sizes that they should have."""

import math

import pytest

from server.experiments.analysis.sample_ratio import check_sample_ratio

HALVES = {"a": 0.5, "b": 0.5}


def test_chi_square_by_hand():
    """(100² + 100²) / 5000 = 4 with one degree of freedom."""
    ratio = check_sample_ratio({"a": 5100, "b": 4900}, HALVES)
    assert ratio.p_value == pytest.approx(0.0455, abs=1e-4)
    assert ratio.expected == {"a": 5000, "b": 5000} and not ratio.is_mismatch


def test_a_split_that_chance_does_not_make_is_a_mismatch():
    assert check_sample_ratio({"a": 5200, "b": 4800}, HALVES).is_mismatch


def test_weights_need_not_be_equal_or_sum_to_one():
    weights = {"a": 8.0, "b": 1.0, "c": 1.0}
    assert check_sample_ratio({"a": 8000, "b": 1010, "c": 990}, weights).p_value > 0.5
    assert check_sample_ratio({"a": 7700, "b": 1150, "c": 1150}, weights).is_mismatch


def test_an_empty_arm_is_a_mismatch():
    assert check_sample_ratio({"a": 200, "b": 0}, HALVES).is_mismatch


def test_a_shopper_in_an_arm_without_weight_is_a_mismatch():
    weights = HALVES | {"c": 0.0}
    assert check_sample_ratio({"a": 500, "b": 500, "c": 1}, weights).is_mismatch
    assert not check_sample_ratio({"a": 500, "b": 500, "c": 0}, weights).is_mismatch


def test_of_too_few_nothing_is_said():
    few = check_sample_ratio({"a": 8, "b": 1}, HALVES)
    assert math.isnan(few.p_value) and not few.is_mismatch
    nobody = check_sample_ratio({"a": 0, "b": 0}, HALVES)
    assert math.isnan(nobody.p_value)
