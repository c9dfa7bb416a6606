"""The simulated fleet does what arithmetic and the real parts say."""

import math

import pytest

from server.capacity.simulation import Scenario, simulate

TICKS_S = {1: 0.05, 2: 0.06, 4: 0.08, 8: 0.12}
FULL = 8 / 0.12  # rows per second


def play(num_replicas=10, duration_s=60.0, **told):
    return simulate(Scenario(num_replicas, TICKS_S, num_steps=10, duration_s=duration_s, **told))


def test_one_image_at_a_time_takes_its_ticks_and_no_longer():
    found = play(num_replicas=1, images_per_s=0.05, duration_s=2000.0)
    assert found.num_made == found.num_asked > 50 and found.num_lost == 0
    assert found.quantile_s(0.5) == pytest.approx(10 * 0.05)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_replicas_are_as_busy_as_their_work_is_long(load):
    found = play(images_per_s=load * 10 * FULL / 10)
    assert found.num_made == found.num_asked
    rows_per_s = found.num_tick_rows / found.busy_s
    assert found.num_tick_rows == 10 * found.num_made
    assert 0.5 * FULL < rows_per_s <= FULL + 1e-6


def test_twice_the_load_is_refused_by_half_and_who_is_let_in_is_in_time():
    found = play(images_per_s=2 * 10 * FULL / 10, deadline_s=3.0)
    assert found.num_lost == 0
    assert 0.4 < found.num_refused / found.num_asked < 0.75
    assert found.in_time > 0.97


def test_a_replica_that_dies_loses_nothing_but_time():
    calm = play(images_per_s=0.6 * 10 * FULL / 10)
    found = play(images_per_s=0.6 * 10 * FULL / 10, num_lost=2)
    assert found.num_lost == 0 and found.num_made == found.num_asked == calm.num_asked
    assert found.num_moved > 0


def test_walks_kept_together_are_shared_more_than_scattered_ones():
    told = {"images_per_s": 0.6 * 10 * FULL / 10, "num_shared": 4, "num_walks": 2000}
    together = play(**told, num_kept=32)
    scattered = play(**told, num_kept=32, is_scattered=True)
    assert together.shared > 1.5 * scattered.shared > 0
    assert together.num_tick_rows < scattered.num_tick_rows


def test_the_same_seed_is_the_same_run():
    one, other = (play(images_per_s=30.0, deadline_s=2.0, seed=5) for _ in range(2))
    assert one.latencies_s == other.latencies_s and one.num_refused == other.num_refused
    assert not math.isnan(one.quantile_s(0.99))
