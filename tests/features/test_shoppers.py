"""Simulated shoppers: what they click follows what they like, and nothing else leaks."""

import numpy as np
import pytest

from diffusion.scenes import PALETTES, SETTINGS
from diffusion.treatments import TREATMENTS
from features.creatives import choose_creatives
from features.shoppers import (
    MAX_CLICKS,
    SLATE,
    Tastes,
    draw_clicks,
    draw_tastes,
)

NUM_SHOPPERS = 1000
NUM_CATEGORIES = 6


@pytest.fixture(scope="module")
def bank():
    return choose_creatives(num_products=30, count=400, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def category(bank):
    return np.random.default_rng(1).integers(NUM_CATEGORIES, size=len(bank))


@pytest.fixture(scope="module")
def tastes():
    return draw_tastes(NUM_SHOPPERS, NUM_CATEGORIES, np.random.default_rng(2))


@pytest.fixture(scope="module")
def is_cold():
    return np.arange(NUM_SHOPPERS) % 10 == 0


@pytest.fixture(scope="module")
def clicks(tastes, bank, category, is_cold):
    return draw_clicks(tastes, bank, category, is_cold, np.random.default_rng(3))


def test_the_bank_has_every_combination_about_equally_often(bank):
    shape = (len(PALETTES), len(SETTINGS), len(TREATMENTS))
    counts = np.zeros(shape, int)
    np.add.at(counts, (bank.palette, bank.setting, bank.treatment), 1)
    assert counts.min() >= 1 and counts.max() <= 2
    assert len(set(bank.ids)) == len(bank) == 400


def test_histories_have_up_to_200_events_and_cold_shoppers_none(clicks, is_cold):
    lengths = np.diff(clicks.starts)
    assert (lengths[is_cold] == 0).all() and (lengths[~is_cold] > 0).all()
    assert lengths.max() <= MAX_CLICKS and lengths.max() > 150 and (lengths < 20).mean() > 0.15


def test_favourites_are_spread_evenly_over_the_choices(tastes):
    for favourite, choices in (
        (tastes.palette, PALETTES),
        (tastes.setting, SETTINGS),
        (tastes.treatment, TREATMENTS),
    ):
        shares = np.bincount(favourite, minlength=len(choices)) / NUM_SHOPPERS
        assert np.allclose(shares, 1 / len(choices), atol=0.05)


def test_clicks_follow_the_favourite_on_every_axis(clicks, tastes, bank):
    for axis in ("palette", "setting", "treatment"):
        shown = getattr(bank, axis)[clicks.creative]
        hits = (shown == getattr(tastes, axis)[clicks.shopper]).mean()
        assert 0.4 < hits < 0.8, axis


def test_clicks_follow_liked_categories(clicks, tastes, category):
    liked = tastes.category_liking[clicks.shopper, category[clicks.creative]] > 0
    by_chance = (tastes.category_liking > 0).mean()
    assert liked.mean() > by_chance + 0.1


def test_without_any_liking_only_the_position_decides(bank, category):
    blank = np.zeros((NUM_SHOPPERS, 8), np.float32)
    zeros = np.zeros(NUM_SHOPPERS, np.int64)
    tastes = Tastes(zeros, zeros, zeros, blank, blank, blank, blank)
    is_cold = np.zeros(NUM_SHOPPERS, np.bool_)
    clicks = draw_clicks(tastes, bank, category, is_cold, np.random.default_rng(5))
    shares = np.bincount(clicks.position, minlength=SLATE) / len(clicks.position)
    expected = (1.0 + np.arange(SLATE)) ** -0.5
    assert np.allclose(shares, expected / expected.sum(), atol=0.005)
    by_creative = np.bincount(clicks.creative, minlength=len(bank)) / len(clicks.creative)
    assert np.allclose(by_creative, 1 / len(bank), atol=0.002)


def test_events_run_from_old_to_new_within_each_shopper(clicks):
    for shopper in range(0, NUM_SHOPPERS, 7):
        ages_s = clicks.age_s[clicks.of(shopper)]
        assert (np.diff(ages_s) <= 0).all()
        assert (clicks.shopper[clicks.of(shopper)] == shopper).all()


def test_the_same_seed_gives_the_same_clicks(tastes, bank, category, is_cold, clicks):
    again = draw_clicks(tastes, bank, category, is_cold, np.random.default_rng(3))
    for column in ("shopper", "creative", "position", "action", "age_s"):
        assert np.array_equal(getattr(again, column), getattr(clicks, column))
