"""Whether times of two kinds differ is told apart from what chance does."""

import numpy as np

from benchmarks.reliability_timing import compare


def draw(seed, shift_s=0.0):
    rng = np.random.default_rng(seed)
    drift = np.sin(np.arange(400) / 30)  # what the machine does befalls both
    return 0.003 + 0.001 * drift + rng.gamma(2, 1e-4, 400) + shift_s


def test_a_difference_far_below_the_noise_of_the_machine_is_found():
    difference, p_value = compare(draw(1, 5e-5), draw(2), 500)
    assert 2e-5 < difference < 2e-4 and p_value < 0.01


def test_where_there_is_none_chance_is_blamed():
    p_values = [compare(draw(2 * seed), draw(2 * seed + 1), 200)[1] for seed in range(40)]
    assert sum(p < 0.05 for p in p_values) <= 6
    assert max(p_values) > 0.5
