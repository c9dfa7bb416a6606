"""The pure scheduler: what holds of every batch, whatever rows there are."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.sampling.scheduler import Scheduler

ROOM = 6
PATIENCE_S = 20.0


@dataclass(eq=False)
class Row:
    """All that a scheduler may know of a row, and the ticks it still needs."""

    name: int
    key: str
    num_forward_rows: int
    submitted_s: float
    deadline_s: float | None
    num_ticks: int = 1


times = st.floats(0, 100, allow_nan=False)
kinds = st.tuples(
    st.sampled_from("ab"),
    st.integers(1, 3),
    times,
    st.none() | times,
    st.integers(1, 4),
)
crowds = st.lists(kinds, max_size=25).map(
    lambda found: [Row(number, *kind) for number, kind in enumerate(found)]
)


def schedule(rows):
    scheduler: Scheduler[Row] = Scheduler(ROOM, PATIENCE_S)
    for row in rows:
        scheduler.add(row)
    return scheduler


@settings(deadline=None)
@given(crowds)
def test_a_batch_is_of_one_key_within_the_room_and_has_no_row_twice(rows):
    batch = schedule(rows).next_batch()
    assert len({row.key for row in batch}) <= 1
    assert sum(row.num_forward_rows for row in batch) <= ROOM
    assert len({id(row) for row in batch}) == len(batch)
    assert {id(row) for row in batch} <= {id(row) for row in rows}


@settings(deadline=None)
@given(crowds)
def test_no_room_is_left_that_a_row_could_have_used(rows):
    scheduler = schedule(rows)
    batch = scheduler.next_batch()
    assert bool(batch) == bool(rows)
    room = ROOM - sum(row.num_forward_rows for row in batch)
    left_out = [row for row in rows if row not in batch and row.key == batch[0].key]
    assert all(row.num_forward_rows > room for row in left_out)


@settings(deadline=None)
@given(crowds)
def test_the_most_urgent_come_first_and_only_size_lets_others_by(rows):
    scheduler = schedule(rows)
    batch = scheduler.next_batch()
    urgencies = [scheduler.urgency(row) for row in batch]
    assert urgencies == sorted(urgencies)
    if batch:
        assert urgencies[0] == min(map(scheduler.urgency, rows))
    for row in rows:
        if row in batch or row.key != batch[0].key:
            continue
        before = [r for r in batch if scheduler.urgency(r) <= scheduler.urgency(row)]
        assert sum(r.num_forward_rows for r in before) + row.num_forward_rows > ROOM


@settings(deadline=None)
@given(crowds)
def test_asking_changes_nothing(rows):
    scheduler = schedule(rows)
    assert scheduler.next_batch() == scheduler.next_batch()
    assert len(scheduler) == len(rows) == len(scheduler.rows())


@settings(deadline=None, max_examples=50)
@given(crowds)
def test_every_row_gets_all_its_ticks(rows):
    scheduler, left = schedule(rows), {id(row): row.num_ticks for row in rows}
    for _ in range(sum(left.values())):
        batch = scheduler.next_batch()
        for row in batch:
            left[id(row)] -= 1
            if not left[id(row)]:
                scheduler.remove(row)
    assert not any(left.values()) and not len(scheduler)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 3), st.integers(1, 5), st.sampled_from("ab"), st.booleans())
def test_nothing_starves_while_more_urgent_rows_keep_coming(size, num_ticks, key, has_deadline):
    """Every second another full batch of the other key wants to be done within the second."""
    deadline_s = 1000.0 if has_deadline else None
    patient = Row(0, key, size, 0.0, deadline_s, num_ticks)
    scheduler = schedule([patient])
    for second in range(int(PATIENCE_S) + num_ticks + 1):
        urgent = Row(1, "b" if key == "a" else "a", ROOM, float(second), second + 1.0)
        scheduler.add(urgent)
        batch = scheduler.next_batch()
        patient.num_ticks -= patient in batch
        scheduler.remove(urgent)  # done, or too late
        if not patient.num_ticks:
            return
    raise AssertionError(f"{patient.num_ticks} ticks are still missing")


def test_known_answers():
    late = Row(0, "a", 2, 0.0, 90.0)
    soon = Row(1, "a", 2, 5.0, 10.0)
    other = Row(2, "b", 1, 0.0, 11.0)
    wide = Row(3, "a", 3, 0.0, 12.0)
    assert schedule([late, soon, other, wide]).next_batch() == [soon, wide]
    assert schedule([late, soon, other]).next_batch() == [soon, late]
    assert schedule([late, other]).next_batch() == [other]


def test_an_empty_scheduler_packs_nothing():
    scheduler = schedule([])
    assert scheduler.next_batch() == [] and scheduler.num_forward_rows == 0


def test_rows_of_equal_urgency_go_in_the_order_in_which_they_came():
    rows = [Row(number, "a", 3, 7.0, None) for number in range(4)]
    assert [row.name for row in schedule(rows).next_batch()] == [0, 1]


def test_a_row_that_left_is_not_packed_and_may_leave_again():
    rows = [Row(number, "a", 1, 0.0, None) for number in range(3)]
    scheduler = schedule(rows)
    scheduler.remove(rows[1])
    scheduler.remove(rows[1])
    assert [row.name for row in scheduler.next_batch()] == [0, 2]
    assert scheduler.num_forward_rows == 2


@pytest.mark.parametrize(
    ("submitted_s", "deadline_s", "urgency"), [(3, None, 23), (3, 10, 10), (3, 90, 23)]
)
def test_urgency_is_the_deadline_but_never_later_than_patience(submitted_s, deadline_s, urgency):
    row = Row(0, "a", 1, submitted_s, deadline_s)
    assert schedule([row]).urgency(row) == urgency
