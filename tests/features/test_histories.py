"""Rows made of clicks: right sums, right times, no future."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from diffusion.taste import HALF_LIFE_S, PRIOR_CLICKS
from features.histories import (
    NUM_RECENT,
    SNAPSHOT_AGES_S,
    make_profiles,
    make_recents,
    pool_history,
)
from features.schema import TIMESTAMP
from features.shoppers import ACTIONS, DAY_S, Clicks, Population, draw_tastes

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CLICK, PURCHASE = ACTIONS.index("click"), ACTIONS.index("purchase")


def make_clicks(*ages_d):
    """One shopper with clicks so many days ago, the n-th on creative n; and one without any."""
    count = len(ages_d)
    zeros = np.zeros(count, np.int64)
    return Clicks(
        shopper=zeros,
        creative=np.arange(count),
        position=zeros,
        action=np.full(count, CLICK),
        age_s=np.array(ages_d) * DAY_S,
        starts=np.array([0, count, count]),
    )


def make_population(clicks):
    return Population(
        ids=["anna", "cold"],
        age_bands=["25-34", "65+"],
        genders=["f", ""],
        locales=["de", "fr"],
        interests=[["books"], []],
        consents=np.array([True, False]),
        tastes=draw_tastes(2, 3, np.random.default_rng(0)),
        clicks=clicks,
    )


def test_pooling_is_the_weighted_mean_shrunk_towards_the_population():
    embeddings = np.eye(2, dtype=np.float32)
    actions = np.array([CLICK, PURCHASE])
    ages_s = np.array([HALF_LIFE_S, 0.0])
    expected = np.array([0.5, 3.0]) / (3.5 + PRIOR_CLICKS)
    assert np.allclose(pool_history(embeddings, actions, ages_s), expected)


def test_each_shopper_has_a_profile_at_each_snapshot():
    rows = make_profiles(make_population(make_clicks(60, 1)), np.eye(2, dtype=np.float32), NOW)
    found = rows.to_pylist()
    assert len(found) == 2 * len(SNAPSHOT_AGES_S)
    assert {row[TIMESTAMP] for row in found} == {
        NOW - timedelta(seconds=s) for s in SNAPSHOT_AGES_S
    }
    latest = [row for row in found if row[TIMESTAMP] == NOW]
    assert [(row["user_id"], row["locale"], row["consent"]) for row in latest] == [
        ("anna", "de", True),
        ("cold", "fr", False),
    ]
    assert all(row["embedding"] is None for row in found if row["user_id"] == "cold")


def test_a_profile_knows_only_clicks_from_before_its_time():
    embeddings = np.eye(4, dtype=np.float32)
    ages_d = (43, 41, 15, 1)  # around the snapshots of 42, 28, 14 and 0 days ago
    rows = make_profiles(make_population(make_clicks(*ages_d)), embeddings, NOW).to_pylist()
    known = {row[TIMESTAMP]: row["embedding"] for row in rows if row["user_id"] == "anna"}
    for snapshot_s in SNAPSHOT_AGES_S:
        seen = np.array(known[NOW - timedelta(seconds=snapshot_s)]) > 0
        assert seen.tolist() == [age_d * DAY_S > snapshot_s for age_d in ages_d]


def test_ages_count_from_the_snapshot():
    rows = make_profiles(make_population(make_clicks(44)), np.eye(1, dtype=np.float32), NOW)
    first = rows.to_pylist()[0]["embedding"][0]
    weight = 0.5 ** (2 / 30)
    assert first == pytest.approx(weight / (weight + PRIOR_CLICKS), rel=1e-6)


def test_recent_rows_are_of_the_moment_of_their_last_click():
    clicks = make_clicks(50, 20, 3, 1)
    rows = make_recents(clicks, ["anna", "cold"], np.eye(4, dtype=np.float32), NOW).to_pylist()
    assert [row["user_id"] for row in rows] == ["anna"] * 3
    assert [row[TIMESTAMP] for row in rows] == [NOW - timedelta(days=d) for d in (50, 20, 1)]
    assert [row["num_clicks"] for row in rows] == [1, 2, 4]
    assert rows[1]["recent_embedding"][2:] == [0, 0]


def test_recent_rows_hold_the_last_few_clicks_only():
    ages_d = np.linspace(10, 1, NUM_RECENT + 5)
    embeddings = np.eye(len(ages_d), dtype=np.float32)
    [row] = make_recents(make_clicks(*ages_d), ["anna", "cold"], embeddings, NOW).to_pylist()
    assert row["num_clicks"] == NUM_RECENT
    assert (np.array(row["recent_embedding"]) > 0).tolist() == [False] * 5 + [True] * NUM_RECENT


def test_nobody_s_clicks_give_no_recent_rows():
    clicks = make_clicks()
    assert make_recents(clicks, ["anna", "cold"], np.eye(1, dtype=np.float32), NOW).num_rows == 0
