"""Shoppers that count as alike: by what they point at, as long as anything is known of them."""

import numpy as np
import pytest

from diffusion.taste_buckets import SHORTEST, TasteBuckets

PALETTES = np.array([[2, 0, 0, 5], [-1, 0, 0, 5], [-1, 0, 0, 5.0]], np.float32)
PALETTES[1, 1], PALETTES[2, 1] = 1.5, -1.5
SETTINGS = np.array([[0, 0, 1, 0], [0, 0, -1, 0]], np.float32)


def draw_shoppers(count=600, seed=0):
    """Of length 2, near one palette and one setting each; [n, w] and their choices [n, 2]."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers([3, 2], size=(count, 2))
    pure = (PALETTES - PALETTES.mean(axis=0))[chosen[:, 0]] + SETTINGS[chosen[:, 1]]
    noisy = pure + 0.2 * rng.normal(size=pure.shape)
    scale = 2 / np.linalg.norm(noisy, axis=1, keepdims=True)
    return (noisy * scale).astype(np.float32), chosen


@pytest.fixture(scope="module")
def shoppers():
    return draw_shoppers()


@pytest.fixture(scope="module")
def buckets(shoppers):
    return TasteBuckets.fit([PALETTES, SETTINGS], shoppers[0])


def test_shoppers_are_found_by_their_choice_on_each_axis_the_last_runs_fastest(buckets, shoppers):
    assert len(buckets) == 6
    vectors, chosen = shoppers
    found = [buckets.find(vector) for vector in vectors]
    assert np.mean(found == 2 * chosen[:, 0] + chosen[:, 1]) > 0.98


def test_what_all_choices_have_in_common_decides_nothing(buckets):
    """Pictures of every palette lie far to one side of the fourth axis."""
    for vector in np.eye(4, dtype=np.float32)[:3]:
        far = 2 * vector + np.array([0, 0, 0, 9], np.float32)
        assert buckets.find(2 * vector) == buckets.find(far)


def test_a_centroid_is_the_mean_direction_of_its_shoppers_at_a_usual_length(buckets, shoppers):
    vectors, _ = shoppers
    assert np.linalg.norm(buckets.centroids, axis=1) == pytest.approx(2.0, abs=1e-4)
    found = np.array([buckets.find(vector) for vector in vectors])
    for number in range(6):
        mean = vectors[found == number].mean(axis=0)
        assert buckets.centroids[number] == pytest.approx(2 * mean / np.linalg.norm(mean), abs=1e-5)
        assert buckets.find(buckets.centroids[number]) == number


def test_a_bucket_that_nobody_is_in_points_at_its_choices(shoppers):
    vectors, chosen = shoppers
    some = TasteBuckets.fit([PALETTES, SETTINGS], vectors[chosen[:, 0] != 2])
    for number in (4, 5):
        assert some.find(some.centroids[number]) == number
        assert np.linalg.norm(some.centroids[number]) == pytest.approx(2.0, abs=1e-4)


def test_who_is_hardly_known_belongs_nowhere(buckets, shoppers):
    vector = shoppers[0][0]
    assert buckets.find(1.001 * SHORTEST * vector) == buckets.find(vector)
    for short in (0.99 * SHORTEST * vector, 0 * vector, np.nan * vector):
        assert buckets.find(short) is None and buckets.find_centroid(short) is None


def test_a_shopper_has_the_centroid_of_their_bucket(buckets, shoppers):
    for vector in shoppers[0][:20]:
        number = buckets.find(vector)
        assert (buckets.find_centroid(vector) == buckets.centroids[number]).all()


def test_what_is_saved_is_loaded_to_the_last_bit(buckets, tmp_path):
    assert TasteBuckets.load(tmp_path) is None
    buckets.save(tmp_path)
    loaded = TasteBuckets.load(tmp_path)
    assert loaded is not None and len(loaded.axes) == 2
    kept, found = (*buckets.axes, buckets.centroids), (*loaded.axes, loaded.centroids)
    for one, other in zip(found, kept, strict=True):
        assert one.dtype == np.float32 and np.array_equal(one, other)


def test_the_same_shoppers_give_the_same_buckets(buckets, shoppers):
    again = TasteBuckets.fit([PALETTES, SETTINGS], shoppers[0])
    assert np.array_equal(again.centroids, buckets.centroids)
