"""The pure scheduler: known answers."""

from dataclasses import dataclass

import pytest

from server.sampling.pace import Pace
from server.sampling.scheduler import LOOK_AHEAD, Scheduler, decision_s

TICKS_S = {1: 0.013, 2: 0.018, 3: 0.025, 4: 0.031, 6: 0.044, 8: 0.060, 12: 0.096, 16: 0.116}
FAR_S = 1000.0


@dataclass(eq=False)
class Row:
    name: int
    key: str = "a"
    num_forward_rows: int = 1
    submitted_s: float = 0.0
    deadline_s: float | None = None
    num_ticks_left: int = 10
    is_background: bool = False


def schedule(rows, ticks_s=None, buckets=(1, 2, 3, 4, 6), **options):
    pace = Pace(tuple(ticks_s or buckets))
    for bucket, seconds in (ticks_s or {}).items():
        pace.record("a", bucket, seconds)
    scheduler: Scheduler[Row] = Scheduler(pace, **options)
    for row in rows:
        scheduler.add(row)
    return scheduler


def names(batch):
    return [row.name for row in batch]


def crowd(num_rows, **wishes):
    return [Row(number, **wishes) for number in range(num_rows)]


def test_the_most_urgent_row_decides_the_key_and_who_is_too_large_lets_others_by():
    late = Row(0, "a", 2, deadline_s=90.0)
    soon = Row(1, "a", 2, deadline_s=10.0)
    other = Row(2, "b", 1, deadline_s=11.0)
    wide = Row(3, "a", 3, deadline_s=12.0)
    assert schedule([late, soon, other, wide]).next_batch(0) == [soon, wide]
    assert schedule([late, soon, other]).next_batch(0) == [soon, late]
    assert schedule([late, other]).next_batch(0) == [other]


def test_an_empty_scheduler_packs_nothing():
    scheduler = schedule([])
    assert scheduler.next_batch(0) == [] and len(scheduler) == 0 and scheduler.rows() == ()


def test_rows_of_equal_urgency_go_in_the_order_in_which_they_came():
    assert names(schedule(crowd(4, num_forward_rows=3)).next_batch(0)) == [0, 1]


def test_a_row_that_left_is_not_packed_and_may_leave_again():
    rows = crowd(3)
    scheduler = schedule([*rows, rows[0]])
    assert len(scheduler) == 3
    for _ in range(2):
        scheduler.remove(rows[1])
        assert names(scheduler.next_batch(0)) == [0, 2]
        assert scheduler.rows() == (rows[0], rows[2])
    for row in rows:
        scheduler.remove(row)
    assert scheduler.next_batch(0) == [] and len(scheduler) == 0


def test_rows_in_the_background_go_after_everybody_however_long_they_wait():
    old = Row(0, submitted_s=-1e6, is_background=True)
    older = Row(1, submitted_s=-1e7, is_background=True)
    late = Row(2, deadline_s=FAR_S)
    scheduler = schedule([old, late, older], buckets=(1,))
    order = []
    while batch := scheduler.next_batch(0.0):
        order += [row.name for row in batch]
        scheduler.remove(batch[0])
    assert order == [2, 0, 1]


@pytest.mark.parametrize(
    ("submitted_s", "deadline_s", "urgency"), [(3, None, 23), (3, 10, 10), (3, 90, 23)]
)
def test_urgency_is_the_deadline_but_never_later_than_patience(submitted_s, deadline_s, urgency):
    row = Row(0, submitted_s=submitted_s, deadline_s=deadline_s)
    assert schedule([row], patience_s=20.0).urgency(row) == urgency


@pytest.mark.parametrize(
    ("num_waiting", "num_packed"),
    [(1, 1), (4, 4), (5, 4), (6, 6), (7, 6), (11, 6), (15, 6), (16, 16), (40, 16)],
)
def test_the_bucket_of_most_rows_per_second_is_taken_and_padding_is_no_row(num_waiting, num_packed):
    """Per second 129 rows at 4, 136 at 6, 133 at 8, 125 at 12, 138 at 16."""
    assert len(schedule(crowd(num_waiting), TICKS_S).next_batch(0)) == num_packed


def test_a_rate_hardly_better_leaves_nobody_out():
    ticks_s = {1: 0.0100, 2: 0.0203}
    assert len(schedule(crowd(2), ticks_s).next_batch(0)) == 2
    ticks_s = {1: 0.0100, 2: 0.0206}
    assert len(schedule(crowd(2), ticks_s).next_batch(0)) == 1


def work(scheduler, ticks_s, num_ticks):
    """Which buckets it took, on a machine of that pace."""
    taken = []
    for _ in range(num_ticks):
        bucket = scheduler.pace.bucket(len(scheduler.next_batch(0)))
        scheduler.pace.record("a", bucket, ticks_s[bucket])
        taken.append(bucket)
    return taken


@pytest.mark.parametrize("seen_s", [0.085, 0.15, 0.3])
@pytest.mark.parametrize("num_seen", [1, 50])
def test_a_bucket_that_looked_slow_while_a_neighbour_had_the_machine_is_tried_again(
    seen_s, num_seen
):
    scheduler = schedule(crowd(16), {1: 0.01, 4: 0.02, 16: seen_s})
    for _ in range(num_seen):
        scheduler.pace.record("a", 16, seen_s)
    taken = work(scheduler, {1: 0.01, 4: 0.02, 16: 0.05}, 1000)
    assert taken[0] == 4 and taken[-300:].count(16) >= 295


def test_a_bucket_that_is_slow_is_tried_seldom_and_expected_to_be_slow():
    truth = {1: 0.01, 4: 0.02, 16: 0.20}
    scheduler = schedule(crowd(16), truth)
    taken = work(scheduler, truth, 3000)
    assert taken.count(4) >= 0.99 * len(taken)
    assert scheduler.pace.tick_s("a", 16) == pytest.approx(0.20)
    assert scheduler.pace.rate("a") == pytest.approx(200)


@pytest.mark.parametrize(
    ("slack_s", "num_packed"), [(0.2, 16), (0.1, 6), (0.04, 4), (0.014, 1), (0.012, 16), (-1, 16)]
)
def test_the_tick_fits_the_tightest_slack_unless_no_haste_could_save_the_row(slack_s, num_packed):
    tight = Row(0, deadline_s=10 * slack_s)
    scheduler = schedule([tight, *crowd(20, deadline_s=FAR_S)], TICKS_S, patience_s=FAR_S)
    assert len(scheduler.next_batch(0)) == num_packed


def test_a_tight_row_behind_keeps_the_batch_that_it_joins_small():
    tight = Row(0, deadline_s=2.0, num_ticks_left=40)
    rows = [*crowd(3, deadline_s=1.9), tight, *crowd(20, deadline_s=FAR_S)]
    scheduler = schedule(rows, TICKS_S, patience_s=FAR_S)
    assert len(scheduler.next_batch(0)) == 6
    tight.num_ticks_left = 5
    assert len(scheduler.next_batch(0)) == 16


def test_what_is_kept_back_of_a_deadline_is_no_slack():
    rows = crowd(16, deadline_s=1.3)
    assert len(schedule(rows, TICKS_S).next_batch(0)) == 16
    assert len(schedule(rows, TICKS_S, keep_s=0.5).next_batch(0)) == 6


def test_a_place_that_would_be_padding_goes_to_a_smaller_row_behind():
    """Two of three rows make a full 6; beside 3 + 2 the next 3 does not fit, the 1 behind does."""
    sizes = (3, 2, 3, 1, 1)
    rows = [Row(number, num_forward_rows=size) for number, size in enumerate(sizes)]
    ticks_s = {1: 0.1, 2: 0.15, 6: 0.16, 8: 0.9}
    assert names(schedule(rows, ticks_s).next_batch(0)) == [0, 1, 3]


def test_sizes_and_ticks_are_read_anew_at_each_decision():
    rows = crowd(3, num_forward_rows=3)
    scheduler = schedule(rows)
    assert names(scheduler.next_batch(0)) == [0, 1]
    rows[0].num_forward_rows = 1
    rows[1].num_forward_rows = 2
    assert names(scheduler.next_batch(0)) == [0, 1, 2]


def test_a_row_that_outgrew_the_largest_bucket_goes_alone():
    rows = crowd(3, num_forward_rows=3)
    scheduler = schedule(rows)
    scheduler.pace.shrink(3)
    assert names(scheduler.next_batch(0)) == [0]


@dataclass(eq=False)
class Watched(Row):
    num_reads: int = 0

    def __getattribute__(self, name):
        if name == "num_forward_rows":
            self.num_reads += 1
        return super().__getattribute__(name)


def test_with_a_thousand_waiting_rows_a_decision_looks_at_few():
    rows = [Watched(number, num_forward_rows=3) for number in range(1000)]
    batch = schedule(rows, TICKS_S).next_batch(0)
    assert names(batch) == [0, 1, 2, 3, 4][: len(batch)]
    assert sum(row.num_reads for row in rows) <= LOOK_AHEAD * 16


def test_a_decision_is_timed_by_the_clock_it_is_given():
    ticks = iter([0.0, 1.0, 1.0, 3.0, 3.0, 8.0])
    assert decision_s(schedule(crowd(2)), 0.0, lambda: next(ticks), num_times=3) == 2.0
