"""Clicks into a taste: known answers."""

import math

import numpy as np
import pytest

from diffusion.taste import (
    ACTION_WEIGHTS,
    NUM_RECENT,
    PRIOR_CLICKS,
    RECENT_SHARE,
    SIMILARITY,
    click_weight,
    decay,
    embed_shopper,
    pool_clicks,
    weigh_by_similarity,
)

DAY_S = 86_400.0
E = math.exp(SIMILARITY)


def vectors(*rows):
    return np.array(rows, np.float32)


def draw_shoppers(*leading, width=16, seed=0):
    """Profiles, recent clicks, their weights and products of shoppers with 0 to 8 clicks."""
    rng = np.random.default_rng(seed)
    profile = rng.normal(size=(*leading, width)).astype(np.float32)
    recent = rng.normal(size=(*leading, NUM_RECENT, width)).astype(np.float32)
    weights = rng.uniform(0.1, 3, (*leading, NUM_RECENT)).astype(np.float32)
    known = np.arange(NUM_RECENT) < rng.integers(0, NUM_RECENT + 1, (*leading, 1))
    product = rng.normal(size=(*leading, width)).astype(np.float32)
    return profile, recent * known[..., None], weights * known, product


def test_clicks_are_a_weighted_mean_shrunk_by_the_prior():
    embeddings = vectors([1, 0], [0, 1])
    found = pool_clicks(embeddings, np.array([3, 1], np.float32), prior_clicks=4.0)
    assert found == pytest.approx([3 / 8, 1 / 8]) and found.dtype == np.float32


def test_a_longer_history_says_more():
    click = vectors([0.6, 0.8])
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


def test_many_ages_decay_like_each_alone():
    ages_s = np.array([-5.0, 0.0, 1.5 * DAY_S, 90 * DAY_S])
    assert decay(ages_s).tolist() == [decay(float(age_s)) for age_s in ages_s]


def test_stronger_actions_weigh_more_and_unknown_ones_are_refused():
    weights = [click_weight(action, 0.0) for action in ("view", "click", "cart", "purchase")]
    assert weights == sorted(weights) and len(set(weights)) == 4
    with pytest.raises(KeyError):
        click_weight("stare", 0.0)


def test_clicks_like_the_product_weigh_more_and_unlike_ones_less():
    recent = vectors([2, 0], [0, 0.5], [-3, 0], [1, 1], [0, 0])
    weights = np.array([1, 1, 1, 2, 1], np.float32)
    found = weigh_by_similarity(recent, weights, vectors([4, 0])[0])
    expected = [E, 1, 1 / E, 2 * math.exp(SIMILARITY / math.sqrt(2)), 1]
    assert found == pytest.approx(expected, rel=1e-6) and found.dtype == np.float32


def test_without_a_product_clicks_weigh_what_they_did():
    _, recent, weights, _ = draw_shoppers(5)
    assert weigh_by_similarity(recent, weights, np.zeros((5, 16), np.float32)).tolist() == (
        weights.tolist()
    )


def test_two_clicks_and_a_profile_in_closed_form():
    recent, weights = vectors([1, 0], [0, 1]), np.array([1, 3], np.float32)
    found = embed_shopper(vectors([0.5, -0.5])[0], recent, weights, vectors([1, 0])[0])
    total = E + 3 + PRIOR_CLICKS
    pooled = np.array([E / total, 3 / total])
    expected = (1 - RECENT_SHARE) * np.array([0.5, -0.5]) + RECENT_SHARE * pooled
    assert found == pytest.approx(expected, rel=1e-6) and found.dtype == np.float32


def test_without_a_profile_the_last_clicks_are_all_there_is():
    recent, weights = vectors([0, 2], [0, 0]), np.array([2, 0], np.float32)
    found = embed_shopper(np.zeros(2, np.float32), recent, weights, np.zeros(2, np.float32))
    assert found == pytest.approx([0, RECENT_SHARE * 2 * 2 / (2 + PRIOR_CLICKS)])


def test_without_last_clicks_the_profile_stays_to_the_last_bit():
    profile, recent, _, product = draw_shoppers(4)
    nothing = np.zeros((4, NUM_RECENT), np.float32)
    assert np.array_equal(embed_shopper(profile, recent, nothing, product), profile)
    nobody = np.zeros_like(profile)
    assert np.array_equal(embed_shopper(nobody, 0 * recent, nothing, product), nobody)


def test_the_same_shopper_is_another_one_to_another_product():
    profile, recent, _, product = draw_shoppers()
    recent, weights = vectors(product, *recent[1:]), np.ones(NUM_RECENT, np.float32)
    here, there = (embed_shopper(profile, recent, weights, p) for p in (product, -product))
    assert not np.allclose(here, there, atol=1e-3)


@pytest.mark.parametrize("leading", [(7,), (2, 3)])
def test_a_batch_is_each_shopper_alone_to_the_last_bit(leading):
    shoppers = draw_shoppers(*leading)
    together = embed_shopper(*shoppers)
    assert together.shape == (*leading, 16) and together.dtype == np.float32
    for place in np.ndindex(*leading):
        assert np.array_equal(together[place], embed_shopper(*(rows[place] for rows in shoppers)))


def test_a_row_does_not_know_who_else_is_in_its_batch():
    profile, recent, weights, product = draw_shoppers(3)
    before = embed_shopper(profile, recent, weights, product)
    for rows in (profile, recent, weights, product):
        rows[1] = 9
    assert np.array_equal(embed_shopper(profile, recent, weights, product)[[0, 2]], before[[0, 2]])
