"""Rows made of clicks: right sums, right times, no future."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from diffusion.taste import NUM_RECENT, PRIOR_CLICKS, click_weight
from features.histories import SNAPSHOT_AGES_S, make_profiles, make_recents, to_times, weigh
from features.moments import find_moments
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


def test_a_profile_is_the_weighted_mean_shrunk_towards_the_population():
    clicks = make_clicks(30, 0.5)
    clicks.action[1] = PURCHASE
    rows = make_profiles(make_population(clicks), np.eye(2, dtype=np.float32), NOW).to_pylist()
    weights = np.array([0.5, 3 * 0.5 ** (0.5 / 30)])
    latest = [row for row in rows if row[TIMESTAMP] == NOW and row["user_id"] == "anna"]
    expected = weights / (weights.sum() + PRIOR_CLICKS)
    assert latest[0]["embedding"] == pytest.approx(expected, rel=1e-6)


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
    ages_d = (43, 41, 15, 1)  # around the snapshots of 42, 14 and 0 days ago
    rows = make_profiles(make_population(make_clicks(*ages_d)), embeddings, NOW).to_pylist()
    known = {row[TIMESTAMP]: row["embedding"] for row in rows if row["user_id"] == "anna"}
    for snapshot_s in SNAPSHOT_AGES_S:
        seen = np.array(known[NOW - timedelta(seconds=snapshot_s)] or [0.0] * 4) > 0
        assert seen.tolist() == [age_d * DAY_S > snapshot_s for age_d in ages_d]


def test_ages_count_from_the_snapshot():
    rows = make_profiles(make_population(make_clicks(44)), np.eye(1, dtype=np.float32), NOW)
    known = [row for row in rows.to_pylist() if row["embedding"]]
    assert known[0][TIMESTAMP] == NOW - timedelta(days=42)
    first, weight = known[0]["embedding"][0], 0.5 ** (2 / 30)
    assert first == pytest.approx(weight / (weight + PRIOR_CLICKS), rel=1e-6)


def test_recent_rows_are_as_they_stood_before_each_moment_and_after_the_last_click():
    count = 23
    clicks = make_clicks(*range(count, 0, -1))
    rows = make_recents(clicks, ["anna", "cold"], np.eye(count, dtype=np.float32), NOW).to_pylist()
    assert {row["user_id"] for row in rows} == {"anna"}
    lasts = [moment - 1 for moment in find_moments("anna", count) if moment] + [count - 1]
    assert len(lasts) >= 4
    assert [row[TIMESTAMP] for row in rows] == [NOW - timedelta(days=count - n) for n in lasts]
    for row, last in zip(rows, lasts, strict=True):
        kept = np.array(row["recent_embeddings"]).reshape(NUM_RECENT, count)
        shown = list(range(max(0, last + 1 - NUM_RECENT), last + 1))
        assert kept[: len(shown)].argmax(axis=1).tolist() == shown
        ages_d = [last - n for n in shown] + [float("inf")] * (NUM_RECENT - len(shown))
        expected = [0.5 ** (age_d / 30) for age_d in ages_d]
        assert row["recent_weights"] == pytest.approx(expected, rel=1e-6)
        assert not kept[len(shown) :].any()


def test_many_clicks_weigh_like_each_alone():
    actions, ages_s = np.arange(len(ACTIONS)), np.array([0.0, DAY_S, 45 * DAY_S, -3.0])
    expected = [click_weight(a, s) for a, s in zip(ACTIONS, ages_s, strict=True)]
    assert weigh(actions, ages_s) == pytest.approx(expected, rel=1e-6)


def test_instants_are_exact_to_the_microsecond():
    found = to_times(NOW, np.array([0.0, 1.5, 90 * DAY_S + 0.000_001])).to_pylist()
    assert found == [NOW - timedelta(seconds=s) for s in (0, 1.5)] + [
        NOW - timedelta(days=90, microseconds=1)
    ]


def test_nobody_s_clicks_give_no_recent_rows():
    clicks = make_clicks()
    assert make_recents(clicks, ["anna", "cold"], np.eye(1, dtype=np.float32), NOW).num_rows == 0
