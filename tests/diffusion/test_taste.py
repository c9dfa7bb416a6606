"""Pooling clicks into a taste: known answers."""

import numpy as np
import pytest

from diffusion.taste import ACTION_WEIGHTS, blend, click_weight, pool_clicks

DAY_S = 86_400.0


def test_clicks_are_a_weighted_mean_shrunk_by_the_prior():
    embeddings = np.array([[1, 0], [0, 1]], np.float32)
    found = pool_clicks(embeddings, np.array([3, 1], np.float32), prior_clicks=4.0)
    assert found == pytest.approx([3 / 8, 1 / 8]) and found.dtype == np.float32


def test_a_longer_history_says_more():
    click = np.array([[0.6, 0.8]], np.float32)
    lengths = [
        np.linalg.norm(pool_clicks(np.repeat(click, n, axis=0), np.ones(n, np.float32)))
        for n in (1, 2, 8, 98)
    ]
    assert lengths == pytest.approx([1 / 3, 1 / 2, 8 / 10, 98 / 100])


def test_nobody_who_clicked_nothing_has_a_taste():
    nothing = pool_clicks(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    assert nothing.tolist() == [0, 0, 0] and nothing.dtype == np.float32


def test_the_order_of_clicks_does_not_matter():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(6, 4)).astype(np.float32)
    weights = rng.uniform(0.1, 3, 6).astype(np.float32)
    turned = pool_clicks(embeddings[::-1], weights[::-1])
    assert turned == pytest.approx(pool_clicks(embeddings, weights), abs=1e-6)


def test_a_click_counts_half_after_thirty_days():
    assert click_weight("click", 0.0) == 1.0
    assert click_weight("click", 30 * DAY_S) == pytest.approx(0.5)
    assert click_weight("purchase", 60 * DAY_S) == pytest.approx(0.75)


def test_a_click_from_the_future_counts_as_one_from_now():
    assert click_weight("cart", -DAY_S) == ACTION_WEIGHTS["cart"]


def test_stronger_actions_weigh_more_and_unknown_ones_are_refused():
    weights = [click_weight(action, 0.0) for action in ("view", "click", "cart", "purchase")]
    assert weights == sorted(weights) and len(set(weights)) == 4
    with pytest.raises(KeyError):
        click_weight("stare", 0.0)


def test_last_clicks_move_the_profile_a_part_of_the_way():
    profile, recent = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    blended = blend(profile, recent)
    assert blended == pytest.approx([0.7, 0.3]) and blended.dtype == np.float32


def test_without_last_clicks_the_profile_stays():
    profile = np.array([0.2, -0.4], np.float32)
    assert blend(profile, None) is profile
    assert blend(profile, profile) == pytest.approx(profile)
