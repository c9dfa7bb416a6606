"""Shoppers whose choice on one axis is another's, and who stay themselves in all else."""

import numpy as np
import pytest

from diffusion.taste_buckets import TasteBuckets

WIDTH = 12
COUNTS = (4, 3)


@pytest.fixture(scope="module")
def buckets():
    """Axes that are not orthogonal to each other in any special way."""
    rng = np.random.default_rng(0)
    axes = [rng.normal(size=(count, WIDTH)).astype(np.float32) for count in COUNTS]
    chosen = rng.integers(COUNTS, size=(3000, 2))
    pure = sum((a - a.mean(0))[c] for a, c in zip(axes, chosen.T, strict=True))
    shoppers = pure + 0.3 * rng.normal(size=pure.shape)
    return TasteBuckets.fit(axes, shoppers.astype(np.float32))


@pytest.fixture(scope="module")
def shoppers():
    return np.random.default_rng(1).normal(size=(50, WIDTH)).astype(np.float32)


def split(buckets, vector, number):
    """What of a vector lies along an axis, and the rest."""
    axis = buckets.axes[number].astype(np.float64)
    along = np.linalg.lstsq(axis.T, vector, rcond=0.01)[0] @ axis
    return along, vector - along


@pytest.mark.parametrize("number", [0, 1])
def test_the_chosen_choice_wins_and_the_rest_stays(buckets, shoppers, number):
    for choice in range(COUNTS[number]):
        chosen: list[int | None] = [None, None]
        chosen[number] = choice
        for shopper in shoppers:
            moved = buckets.steer(shopper, chosen)
            assert moved.dtype == np.float32
            assert buckets.rank(moved)[number][0] == choice
            stays, stayed = split(buckets, shopper, number)[1], split(buckets, moved, number)[1]
            assert np.allclose(stays, stayed, atol=1e-5)


def test_what_lay_along_the_axis_no_longer_counts(buckets, shoppers):
    for shopper in shoppers:
        along, _ = split(buckets, shopper, 0)
        one, other = (buckets.steer(s, [2, None]) for s in (shopper, shopper + 3 * along))
        assert np.allclose(one, other, atol=1e-5)


def test_nothing_chosen_is_the_same_shopper(buckets, shoppers):
    assert np.array_equal(buckets.steer(shoppers[0], [None, None]), shoppers[0])


def test_nobody_steered_lies_along_the_axes_at_a_usual_length(buckets):
    nobody = np.zeros(WIDTH, np.float32)
    usual = np.linalg.norm(buckets.centroids[0])
    for choice in range(COUNTS[0]):
        look = buckets.steer(nobody, [choice, None])
        assert np.allclose(split(buckets, look, 0)[1], 0, atol=1e-5)
        assert 0.3 * usual < np.linalg.norm(look) < 1.3 * usual


def test_ranks_begin_with_the_bucket(buckets, shoppers):
    for shopper in shoppers:
        first, second = (ranked[0] for ranked in buckets.rank(shopper))
        number = first * COUNTS[1] + second
        assert buckets.find(10 * shopper) == number
