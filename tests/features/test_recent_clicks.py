"""The stream's rows are those of the offline job."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from diffusion.taste import HALF_LIFE_S, NUM_RECENT, click_weight
from features.decoding import Limits, decode_recent
from features.definitions import to_key
from features.histories import make_recents
from features.materialize import push
from features.recent_clicks import Click, RecentRow, add_clicks, keep_last, tell_recent
from features.schema import TIMESTAMP, USER_RECENT
from features.shoppers import ACTIONS, DAY_S, Clicks
from tests.features.stores import WIDTH, last_clicks

NOW = datetime.now(UTC).replace(microsecond=0)


def draw_history(count, seed=0):
    """A shopper's clicks, and the same as events of a stream."""
    rng = np.random.default_rng(seed)
    ages_s = np.sort(rng.uniform(0, 40 * DAY_S, count).round())[::-1]
    actions = rng.integers(len(ACTIONS), size=count)
    embeddings = rng.standard_normal((count, WIDTH)).astype(np.float32)
    zeros = np.zeros(count, np.int64)
    clicks = Clicks(zeros, np.arange(count), zeros, actions, ages_s, np.array([0, count]))
    events = [
        Click(ACTIONS[action], NOW - timedelta(seconds=age_s), embedding)
        for action, age_s, embedding in zip(actions, ages_s, embeddings, strict=True)
    ]
    return clicks, embeddings, events


def offline_row(clicks, embeddings):
    row = make_recents(clicks, ["anna"], embeddings, NOW).to_pylist()[-1]
    embeddings = np.array(row["recent_embeddings"], np.float32).reshape(NUM_RECENT, WIDTH)
    return row[TIMESTAMP], embeddings, np.array(row["recent_weights"], np.float32)


@pytest.mark.parametrize("count", [1, 3, NUM_RECENT, NUM_RECENT + 1, 30])
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_a_stream_that_moves_a_row_on_ends_where_the_offline_job_does(count, batch):
    clicks, embeddings, events = draw_history(count)
    row = None
    for start in range(0, count, batch):
        row = add_clicks(row, events[start : start + batch])
    assert row is not None
    time, expected, weights = offline_row(clicks, embeddings)
    assert row.time == time and np.array_equal(row.clicks.embeddings, expected)
    assert row.clicks.weights == pytest.approx(weights, rel=1e-6)


def test_what_was_there_fades_by_the_time_that_passed():
    event = Click("cart", NOW, np.ones(WIDTH, np.float32))
    before = RecentRow(NOW - timedelta(seconds=HALF_LIFE_S), last_clicks())
    after = add_clicks(before, [event])
    assert after.time == NOW
    assert after.clicks.weights[:3] == pytest.approx([0.25, 0.5, 2.0])
    assert not after.clicks.weights[3:].any()


def test_a_click_that_comes_late_weighs_by_its_age_and_turns_no_clock_back():
    late = Click("click", NOW - timedelta(days=3), np.ones(WIDTH, np.float32))
    after = add_clicks(RecentRow(NOW, last_clicks()), [late])
    assert after.time == NOW
    assert after.clicks.weights[:3] == pytest.approx([0.5, 1, click_weight("click", 3 * DAY_S)])


def test_fewer_clicks_than_are_kept_leave_zeros_at_the_end():
    embeddings, weights = keep_last(np.ones((2, WIDTH), np.float32), np.ones(2, np.float32))
    assert embeddings.sum(axis=1).tolist() == [WIDTH, WIDTH, 0, 0, 0, 0, 0, 0]
    assert weights.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_a_row_can_be_pushed_and_read_again(store):
    _, _, events = draw_history(5)
    row = add_clicks(None, events)
    report = push(store, USER_RECENT, tell_recent("anna", row), WIDTH)
    assert (report.num_written, report.flaws) == (1, ())
    keys = [to_key(USER_RECENT.key, "anna")]
    definition = store.view(USER_RECENT)
    [stored] = store.online.online_read(store.feast.config, definition, keys, USER_RECENT.features)
    found = decode_recent("anna", stored, Limits(WIDTH, 0), NOW.timestamp()).clicks
    assert found is not None
    assert all(np.array_equal(*pair) for pair in zip(found, row.clicks, strict=True))
