"""What measured ticks predict."""

import pytest

from server.sampling.pace import SMOOTHING, Pace


@pytest.mark.parametrize(("num_rows", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_a_bucket_is_the_smallest_that_holds_the_rows(num_rows, bucket):
    assert Pace((1, 2, 4, 8)).bucket(num_rows) == bucket


@pytest.mark.parametrize("buckets", [(), (0, 1), (2, 1), (1, 1, 2), (-1,)])
def test_buckets_that_do_not_rise_are_refused(buckets):
    with pytest.raises(ValueError, match="rising"):
        Pace(buckets)


def test_a_measured_bucket_predicts_its_tick_and_an_unmeasured_one_nothing():
    pace = Pace((1, 4))
    pace.record(4, 0.5)
    assert pace.tick_s(1) == 0 and pace.tick_s(2) == pace.tick_s(4) == pace.tick_s(99) == 0.5
    assert pace.measured_ms() == {4: 500.0}


def test_measurements_are_smoothed():
    pace = Pace((1,))
    pace.record(1, 1.0)
    pace.record(1, 2.0)
    assert pace.tick_s(1) == pytest.approx(1 + SMOOTHING)
    for _ in range(200):
        pace.record(1, 3.0)
    assert pace.tick_s(1) == pytest.approx(3)


def test_ticks_add_up_and_rows_beyond_the_largest_forward_take_turns():
    pace = Pace((1, 4))
    pace.record(1, 0.1)
    pace.record(4, 0.2)
    assert pace.predict_s(10, 1) == pytest.approx(1.0)
    assert pace.predict_s(10, 4) == pytest.approx(2.0)
    assert pace.predict_s(10, 8) == pytest.approx(4.0)
    assert pace.predict_s(10, 6) == pytest.approx(3.0)
    assert pace.predict_s(10, 0) == pytest.approx(1.0)


def test_a_prediction_never_falls_when_rows_come():
    pace = Pace((1, 2, 4, 8))
    for bucket, seconds in ((1, 0.1), (2, 0.12), (4, 0.2), (8, 0.3)):
        pace.record(bucket, seconds)
    predicted = [pace.predict_s(20, num_rows) for num_rows in range(1, 40)]
    assert predicted == sorted(predicted)
