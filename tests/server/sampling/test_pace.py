"""What measured ticks say of the next one."""

import json
import math

import pytest

from server.sampling.pace import SMOOTHING, SURPRISE, Pace

KEY = ("quality", (8, 16, 16))
OTHER = ("fast", (8, 16, 16))


def measured(ticks_s, buckets=(1, 2, 4, 8)):
    pace = Pace(buckets)
    for bucket, seconds in ticks_s.items():
        pace.record(KEY, bucket, seconds)
    return pace


@pytest.mark.parametrize(("num_rows", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_a_bucket_is_the_smallest_that_holds_the_rows(num_rows, bucket):
    assert Pace((1, 2, 4, 8)).bucket(num_rows) == bucket


@pytest.mark.parametrize("buckets", [(), (0, 1), (2, 1), (1, 1, 2), (-1,)])
def test_buckets_that_do_not_rise_are_refused(buckets):
    with pytest.raises(ValueError, match="rising"):
        Pace(buckets)


def test_a_key_never_measured_takes_no_time_at_an_infinite_rate():
    pace = Pace((1, 4))
    assert pace.tick_s(KEY, 3) == 0 and pace.rate(KEY) == math.inf
    assert pace.measured_s(KEY) == {} and pace.keys() == ()


def test_keys_are_measured_apart():
    pace = measured({1: 0.1})
    pace.record(OTHER, 1, 0.3)
    assert pace.tick_s(KEY, 1) == pytest.approx(0.1)
    assert pace.tick_s(OTHER, 1) == pytest.approx(0.3)
    assert pace.keys() == (KEY, OTHER)


def test_a_bucket_not_measured_lies_on_the_line_between_those_that_are():
    pace = measured({2: 0.2, 8: 0.8})
    assert pace.tick_s(KEY, 4) == pace.tick_s(KEY, 3) == pytest.approx(0.4)
    assert pace.measured_s(KEY) == {2: 0.2, 8: 0.8}


def test_below_the_measured_nothing_is_faster_and_above_it_grows_with_the_rows():
    pace = measured({2: 0.2, 4: 0.3})
    assert pace.tick_s(KEY, 1) == pytest.approx(0.2)
    assert pace.tick_s(KEY, 8) == pytest.approx(0.6)


def test_rows_beyond_the_largest_bucket_take_turns():
    pace = measured({1: 0.1, 2: 0.2, 4: 0.3, 8: 0.5})
    assert pace.tick_s(KEY, 16) == pytest.approx(1.0)
    assert pace.tick_s(KEY, 19) == pytest.approx(1.3)


def test_the_rate_is_that_of_the_best_measured_bucket():
    assert measured({1: 0.1, 4: 0.2, 8: 0.5}).rate(KEY) == pytest.approx(20)


def test_the_first_observations_are_averaged_and_later_ones_smoothed():
    pace = measured({1: 1.0})
    pace.record(KEY, 1, 1.2)
    assert pace.tick_s(KEY, 1) == pytest.approx(1.1)
    for _ in range(50):
        pace.record(KEY, 1, 1.0)
    known = pace.tick_s(KEY, 1)
    pace.record(KEY, 1, 1.5)
    assert pace.tick_s(KEY, 1) == pytest.approx(known + SMOOTHING * (1.5 - known))


def test_an_interrupted_tick_hardly_moves_the_estimate():
    pace = measured({1: 1.0})
    for _ in range(20):
        pace.record(KEY, 1, 1.0)
    pace.record(KEY, 1, 100.0)
    assert pace.tick_s(KEY, 1) == pytest.approx(1 + SMOOTHING * (SURPRISE - 1))


@pytest.mark.parametrize("drifted_s", [0.25, 0.6, 1.5, 2.0, 4.0])
def test_a_lasting_change_is_followed_within_twenty_ticks(drifted_s):
    pace = measured({1: 1.0})
    for _ in range(100):
        pace.record(KEY, 1, 1.0)
    for _ in range(20):
        pace.record(KEY, 1, drifted_s)
    assert pace.tick_s(KEY, 1) == pytest.approx(drifted_s, rel=0.15)


def test_buckets_not_seen_follow_a_slow_machine_half_way_and_back():
    pace = measured({1: 1.0, 8: 4.0})
    for _ in range(200):
        pace.record(KEY, 1, 2.0)
    assert pace.tick_s(KEY, 8) == pytest.approx(4 * math.sqrt(2), rel=1e-3)
    for _ in range(200):
        pace.record(KEY, 1, 1.0)
    assert pace.tick_s(KEY, 8) == pytest.approx(4.0, rel=1e-3)


def test_the_best_of_late_outlives_a_slow_spell_and_fades_in_a_long_one():
    pace = measured({1: 0.012, 4: 0.030})
    for _ in range(100):
        pace.record(KEY, 1, 0.05)
    assert pace.tick_s(KEY, 1) == pytest.approx(0.05, rel=0.01)
    best = pace.at_best()
    assert best.tick_s(KEY, 1) == pytest.approx(0.012 * 1.0005**100)
    assert best.tick_s(KEY, 4) == 0.030 and best.buckets == pace.buckets
    for _ in range(4000):
        pace.record(KEY, 1, 0.05)
    assert pace.at_best().tick_s(KEY, 1) == pytest.approx(0.05, rel=0.01)


def test_the_slowest_spell_of_late_is_expected_again_and_fades_in_a_long_fast_one():
    pace = measured({1: 0.01})
    for _ in range(40):
        pace.record(KEY, 1, 0.02)
    for _ in range(40):
        pace.record(KEY, 1, 0.01)
    assert pace.tick_s(KEY, 1) == pytest.approx(0.01, rel=0.01)
    assert 0.0195 < pace.slow_tick_s(KEY, 1) < 0.02
    for _ in range(1400):
        pace.record(KEY, 1, 0.01)
    assert pace.slow_tick_s(KEY, 1) == pytest.approx(0.01, rel=0.01)
    assert pace.at_best().slow_tick_s(KEY, 1) == pace.best_tick_s(KEY, 1)


def test_the_best_is_never_slower_than_what_is_usual():
    pace = measured({1: 0.05})
    for _ in range(100):
        pace.record(KEY, 1, 0.01)
    assert pace.at_best().tick_s(KEY, 1) <= pace.tick_s(KEY, 1)
    assert pace.at_best().rate(KEY) >= pace.rate(KEY)


def test_a_bucket_too_large_is_never_offered_again_and_the_smallest_always_is():
    pace = measured({2: 0.2, 4: 0.1, 8: 0.1}, buckets=(2, 4, 8))
    pace.shrink(8)
    assert pace.buckets == (2, 4) and pace.largest == 4
    assert pace.rate(KEY) == pytest.approx(40) and pace.measured_s(KEY) == {2: 0.2, 4: 0.1}
    pace.shrink(2)
    assert pace.buckets == (2,) and pace.rate(KEY) == pytest.approx(10)
    pace.record(KEY, 8, 1.0)
    assert pace.measured_s(KEY) == {2: 0.2}
    assert pace.tick_s(KEY, 3) == pytest.approx(0.4)


def test_a_key_that_was_measured_at_lost_buckets_only_is_unknown_again():
    pace = measured({8: 0.5})
    pace.shrink(8)
    assert pace.tick_s(KEY, 4) == 0 and pace.keys() == ()


def test_a_tick_without_time_is_left_behind_by_the_next():
    pace = measured({1: 0.0})
    assert pace.rate(KEY) == math.inf
    pace.record(KEY, 1, 1.0)
    assert pace.tick_s(KEY, 1) == pytest.approx(0.5)


def test_what_was_learnt_outlives_a_restart_and_blends_with_what_is_measured_then(tmp_path):
    path = tmp_path / "state" / "pace.json"
    measured({1: 0.1, 4: 0.2}).save(path)
    pace = Pace((1, 2, 4))
    pace.load(path)
    assert pace.tick_s(KEY, 4) == pytest.approx(0.2) and pace.rate(KEY) == pytest.approx(20)
    assert pace.measured_s(KEY) == {1: 0.1, 4: 0.2} and pace.keys() == ()
    pace.record(KEY, 1, 0.12)
    assert pace.tick_s(KEY, 1) == pytest.approx(0.11) and pace.keys() == (KEY,)
    assert [file.name for file in path.parent.iterdir()] == ["pace.json"]


def test_a_key_not_served_this_time_is_saved_on(tmp_path):
    path = tmp_path / "pace.json"
    measured({1: 0.1}).save(path)
    pace = Pace((1, 2, 4))
    pace.load(path)
    pace.record(OTHER, 2, 0.5)
    pace.save(path)
    assert json.loads(path.read_text()) == {str(KEY): {"1": 0.1}, str(OTHER): {"2": 0.5}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[1, 2]",
        "{}",
        '{"KEY": 3}',
        '{"KEY": {"1": "fast", "2": -1, "3": 1, "x": 1, "4": null}}',
        '{"KEY": {"1": NaN, "2": Infinity, "4": 0, "8": true}}',
    ],
)
def test_a_file_that_is_not_a_pace_is_passed_over(tmp_path, text):
    path = tmp_path / "pace.json"
    path.write_text(text.replace("KEY", str(KEY)))
    pace = Pace((1, 2, 4, 8))
    pace.load(path)
    pace.load(tmp_path / "missing.json")
    assert pace.tick_s(KEY, 1) == 0 and pace.measured_s(KEY) == {}


def test_a_file_of_bytes_is_passed_over(tmp_path):
    path = tmp_path / "pace.json"
    path.write_bytes(b"\xff\xfe\x00")
    pace = Pace((1,))
    pace.load(path)
    assert pace.tick_s(KEY, 1) == 0
