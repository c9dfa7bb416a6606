"""Simulated experiments whose truth is known."""

import numpy as np
import pytest

from benchmarks import experiments_errors as errors


def test_the_rate_that_is_said_to_be_true_is_that_of_the_simulation():
    rng = np.random.default_rng(0)
    counts = errors.draw(rng, 50, 1.0, is_adjusted=True)
    found = counts["clicks"].sum() / counts["shown"].sum()
    assert found == pytest.approx(errors.find_ctr(), rel=0.01)
    assert counts["bought"].mean() == pytest.approx(errors.BUY, rel=0.03)


def test_what_each_arm_is_said_to_bring_is_what_it_brings():
    features = np.random.default_rng(1).normal(size=(400_000, 2))
    inputs = np.column_stack([np.ones(len(features)), features])
    found = errors.squash(inputs @ errors.TASTES.T).mean(axis=0)
    assert found == pytest.approx(list(errors.find_arm_values()), abs=0.002)


def test_looks_only_ever_add_to_what_was_seen():
    looks = list(errors.draw_looks(np.random.default_rng(2), 2))
    assert len(looks) == errors.NUM_LOOKS
    for before, after in zip(looks, looks[1:], strict=False):
        for one, other in zip(before, after, strict=True):
            assert other.count >= one.count
            assert all(other.sums[name] >= one.sums[name] for name in one.sums)
    assert looks[-1][0].count == errors.NUM_UNITS


def test_simulations_say_whether_the_report_was_right():
    once = errors.simulate_once(0, lift=1.0, is_adjusted=False)
    assert once.shape == (errors.CHUNK, len(errors.CHECKED), 4)
    # Without an effect, the interval of an effect excludes zero where the p-value is below alpha.
    assert np.array_equal(once[:, :, 0] <= errors.SETTINGS.alpha, once[:, :, 1] == 0)
    assert np.array_equal(once, errors.simulate_once(0, lift=1.0, is_adjusted=False))
