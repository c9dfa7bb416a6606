"""Requests become devices by arithmetic that anybody can do again."""

import math

import pytest

from server.capacity.figures import Figures, Kind
from server.capacity.plan import Load, PlanImpossible, Terms, make_plan

KIND = Kind("model", 20, 2, 1000, 10, "model", "")
FIGURES = Figures({2: 0.04, 8: 0.1}, "a test", True)


def test_every_number_follows_from_the_one_before():
    load = Load(100.0, 2, 0.5, 0.25, 3.0, 20, 2)
    plan = make_plan(KIND, load, Terms(0.5, 2, 0.8, 4, door_rps=50.0), FIGURES)
    assert load.peak_rps == 300 and load.images_per_s == 300
    assert load.rows_per_image == 30 and load.rows_per_s == 9000
    assert plan.tick_rows == 8 and plan.rows_per_s == pytest.approx(64)
    assert plan.num_replicas == math.ceil(9000 / (64 * 0.5)) == 282
    assert plan.num_gpus == 284 * 4 and plan.busy == pytest.approx(9000 / (284 * 64))
    assert plan.images_per_gpu_s == pytest.approx(64 / 30 / 4)
    assert plan.alone_s == pytest.approx(20 * 0.04 / 0.8)
    assert plan.image_s == pytest.approx(20 * 0.1 / 0.8)
    assert plan.num_doors == math.ceil(300 / 25)
    assert plan.memory_bytes == 1000 + 4 * 4 * 10


def test_an_image_that_must_be_soon_done_goes_in_smaller_forwards():
    plan = make_plan(KIND, Load(1.0, num_terms=2), Terms(max_image_s=1.0), FIGURES)
    assert plan.tick_rows == 2
    with pytest.raises(PlanImpossible, match="0.5 s"):
        make_plan(KIND, Load(1.0, num_terms=2), Terms(max_image_s=0.5), FIGURES)


def test_the_smallest_load_has_one_replica_and_its_spare():
    plan = make_plan(KIND, Load(0.001), Terms(), FIGURES)
    assert (plan.num_replicas, plan.num_spare, plan.num_doors) == (1, 1, 0)
