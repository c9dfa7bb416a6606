"""Every figure against what can be worked out by hand."""

from itertools import permutations

import numpy as np
import pytest

from diffusion.evaluation.metrics import (
    Reference,
    describe,
    estimate_difference,
    estimate_frechet,
    estimate_mean,
    estimate_mismatch,
    estimate_rate,
    estimate_ratio,
    frechet_distance,
)


def hits(number, of):
    return np.arange(of) < number


def test_the_interval_of_a_rate_is_wilsons():
    figure = estimate_rate(hits(8, 10))
    assert (figure.value, figure.n) == (0.8, 10)
    assert (figure.low, figure.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@pytest.mark.parametrize("number", [0, 20])
def test_the_interval_stays_within_0_and_1_and_holds_the_rate(number):
    figure = estimate_rate(hits(number, 20))
    assert 0 <= figure.low <= figure.value <= figure.high <= 1
    assert figure.high - figure.low == pytest.approx(0.1611, abs=1e-4)


def test_nothing_has_no_rate():
    with pytest.raises(ValueError, match="nothing"):
        estimate_rate(hits(0, 0))


def test_the_interval_of_a_mean_is_normal():
    figure = estimate_mean(np.array([1.0, 2.0, 3.0]))
    reach = 1.959964 / 3**0.5
    assert (figure.value, figure.low, figure.high) == pytest.approx((2, 2 - reach, 2 + reach))
    assert estimate_mean([5.0]).low == 5


def test_a_ratio_is_that_of_its_rates_and_surer_of_more_cases():
    few, many = (estimate_ratio(hits(8 * k, 10 * k), hits(9 * k, 10 * k)) for k in (2, 200))
    assert few.value == many.value == pytest.approx(8 / 9)
    assert few.low < many.low < 8 / 9 < many.high < few.high
    spread = 8 / 9 * (0.2 / 0.8 / 2000 + 0.1 / 0.9 / 2000) ** 0.5  # the delta method
    assert many.high - many.low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_a_difference_is_of_pairs():
    before, after = hits(60, 100), hits(50, 100)
    figure = estimate_difference(before, after)
    assert figure.value == pytest.approx(0.1)
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * (0.09 / 99) ** 0.5, rel=1e-3)
    assert estimate_difference(before, before).high == 0


def test_mismatch_is_the_mean_over_all_pairs_of_two_shoppers():
    rng = np.random.default_rng(3)
    read, tastes = rng.integers(4, size=(2, 9))
    pairs = [read[i] == tastes[j] for i, j in permutations(range(9), 2)]
    assert estimate_mismatch(read, tastes).value == pytest.approx(np.mean(pairs))


def test_the_jackknife_leaves_out_each_shopper_as_both_maker_and_other():
    rng = np.random.default_rng(4)
    read, tastes = rng.integers(3, size=(2, 7))
    without = []
    for left_out in range(7):
        kept = [i for i in range(7) if i != left_out]
        without.append(np.mean([read[i] == tastes[j] for i, j in permutations(kept, 2)]))
    spread = np.sqrt(6 / 7 * np.sum((np.array(without) - np.mean(without)) ** 2))
    figure = estimate_mismatch(read, tastes)
    assert figure.low == pytest.approx(max(0, figure.value - 1.959964 * spread))


def test_two_shoppers_with_swapped_tastes_mismatch_all_the_time():
    assert estimate_mismatch(np.array([0, 1]), np.array([1, 0])).value == 1
    with pytest.raises(ValueError, match="no other"):
        estimate_mismatch(np.array([0]), np.array([0]))


def test_the_frechet_distance_of_gaussians_with_known_answer():
    mean, spread = np.zeros(2), np.diag([1.0, 4.0])
    assert frechet_distance(mean, spread, mean, spread) == pytest.approx(0, abs=1e-9)
    # (1, 2) apart: 5; deviations 1 and 2 against 3 and 3: (1 - 3)² + (2 - 3)² = 5
    distance = frechet_distance(mean, spread, np.array([1.0, 2.0]), np.diag([9.0, 9.0]))
    assert distance == pytest.approx(10)


def test_the_frechet_distance_is_the_same_however_both_are_turned():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    one, two = np.diag([1.0, 2.0, 0.0]), np.diag([4.0, 0.5, 0.0])
    straight = frechet_distance(np.zeros(3), one, np.ones(3), two)
    turned = frechet_distance(
        np.zeros(3), turn @ one @ turn.T, turn @ np.ones(3), turn @ two @ turn.T
    )
    assert turned == pytest.approx(straight)


def test_pictures_like_the_reference_are_near_and_others_as_far_as_they_are_moved():
    rng = np.random.default_rng(1)
    known, like = rng.normal(size=(2, 400, 8)).astype(np.float32)
    reference = Reference.of(known, num_axes=8)
    near, far = estimate_frechet(like, reference), estimate_frechet(like + 3, reference)
    assert near.value < 0.3
    assert far.value == pytest.approx(9 * 8, rel=0.1)
    for figure in (near, far):
        assert figure.low <= figure.value <= figure.high
    assert far == estimate_frechet(like + 3, reference), "seeded"


def test_a_reference_keeps_the_axes_that_vary_most():
    rng = np.random.default_rng(2)
    known = (rng.normal(size=(300, 3)) * [0.1, 10, 1]).astype(np.float32)
    reference = Reference.of(known, num_axes=1)
    assert np.abs(reference.axes[:, 0]) == pytest.approx([0, 1, 0], abs=0.02)
    assert describe(reference.known)[1].shape == (1, 1)
