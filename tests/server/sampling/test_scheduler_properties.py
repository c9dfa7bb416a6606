"""The pure scheduler: what holds of every batch, whatever rows there are."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from server.sampling.pace import Pace
from server.sampling.scheduler import LOOK_AHEAD, WORTH, Scheduler

BUCKETS = (1, 2, 4, 6)
ROOM = 6
PATIENCE_S = 20.0


@dataclass(eq=False)
class Row:
    """All that a scheduler may know of a row."""

    name: int
    key: str
    num_forward_rows: int
    submitted_s: float
    deadline_s: float | None
    num_ticks_left: int = 1
    is_background: bool = False

    def step(self):
        assert self.num_ticks_left > 0, "stepped past its last tick"
        self.num_ticks_left -= 1


times = st.floats(0, 100, allow_nan=False)
kinds = st.tuples(
    st.sampled_from("ab"), st.integers(1, 3), times, st.none() | times, st.integers(1, 4)
)
crowds = st.lists(kinds, max_size=LOOK_AHEAD * ROOM).map(
    lambda found: [Row(number, *kind) for number, kind in enumerate(found)]
)
curves = st.tuples(*[st.floats(0.01, 10) for _ in BUCKETS])
paces = st.none() | curves  # rising or not: a measurement may be anything

settled = settings(derandomize=True, deadline=None)
briefly = settings(derandomize=True, deadline=None, max_examples=50)


def schedule(rows, ticks_s=None, buckets=BUCKETS):
    pace = Pace(buckets)
    for bucket, seconds in zip(buckets, ticks_s or (), strict=bool(ticks_s)):
        pace.record("a", bucket, seconds)
        pace.record("b", bucket, seconds)
    scheduler: Scheduler[Row] = Scheduler(pace, PATIENCE_S)
    for row in rows:
        scheduler.add(row)
    return scheduler


def width(rows):
    return sum(row.num_forward_rows for row in rows)


def left_out(rows, batch):
    return [row for row in rows if row not in batch and row.key == batch[0].key]


@settled
@given(crowds, paces, times)
def test_a_batch_is_of_one_key_within_the_room_and_has_no_row_twice(rows, ticks_s, now_s):
    batch = schedule(rows, ticks_s).next_batch(now_s)
    assert len({row.key for row in batch}) <= 1
    assert width(batch) <= ROOM
    assert len({id(row) for row in batch}) == len(batch)
    assert {id(row) for row in batch} <= {id(row) for row in rows}


@settled
@given(crowds, paces, times)
def test_while_rows_wait_the_most_urgent_of_all_steps_whatever_its_key(rows, ticks_s, now_s):
    scheduler = schedule(rows, ticks_s)
    batch = scheduler.next_batch(now_s)
    assert bool(batch) == bool(rows)
    if batch:
        assert scheduler.urgency(batch[0]) == min(map(scheduler.urgency, rows))
    urgencies = [scheduler.urgency(row) for row in batch]
    assert urgencies == sorted(urgencies)


@settled
@given(crowds, paces, times)
def test_whoever_was_overtaken_in_its_key_did_not_fit_beside_those_before_it(rows, ticks_s, now_s):
    """Before it in urgency; in the bucket that was chosen. Whoever comes after all may wait."""
    scheduler = schedule(rows, ticks_s)
    batch = scheduler.next_batch(now_s)
    for row in left_out(rows, batch) if batch else ():
        before = [r for r in batch if scheduler.urgency(r) <= scheduler.urgency(row)]
        if len(before) < len(batch):
            assert width(before) + row.num_forward_rows > scheduler.pace.bucket(width(batch))


@settled
@given(crowds, paces, times)
def test_no_place_is_left_to_padding_that_a_waiting_row_could_have_used(rows, ticks_s, now_s):
    scheduler = schedule(rows, ticks_s)
    if batch := scheduler.next_batch(now_s):
        padding = scheduler.pace.bucket(width(batch)) - width(batch)
        assert all(row.num_forward_rows > padding for row in left_out(rows, batch))


@settled
@given(crowds, times, st.booleans())
def test_where_every_row_costs_the_same_all_that_fit_step(rows, now_s, is_measured):
    """No deadline presses, and the largest forward is as good as any, or nothing is known yet."""
    for row in rows:
        row.deadline_s = None
    buckets = tuple(range(1, ROOM + 1))
    ticks_s = [0.1 * size for size in buckets] if is_measured else None
    if batch := schedule(rows, ticks_s, buckets).next_batch(now_s):
        room = ROOM - width(batch)
        assert all(row.num_forward_rows > room for row in left_out(rows, batch))


@settled
@given(crowds, curves)
def test_without_deadlines_no_other_prefix_is_worth_more(rows, ticks_s):
    for row in rows:
        row.deadline_s = None
    scheduler = schedule(rows, ticks_s)
    pace = scheduler.pace
    if not (batch := scheduler.next_batch(0)):
        return
    rate = width(batch) / pace.tick_s(batch[0].key, width(batch))
    num_rows = 0
    for row in sorted((r for r in rows if r.key == batch[0].key), key=scheduler.urgency):
        if num_rows + row.num_forward_rows <= ROOM:
            num_rows += row.num_forward_rows
            assert rate >= (1 - 1.01 * WORTH) * num_rows / pace.tick_s(row.key, num_rows)


@settled
@given(crowds, curves, times)
def test_the_most_urgent_row_is_not_slowed_past_its_deadline_by_company(rows, ticks_s, now_s):
    ticks_s = sorted(ticks_s)  # a smaller bucket is no slower here: company is what costs
    scheduler = schedule(rows, ticks_s)
    batch = scheduler.next_batch(now_s)
    if not batch or (deadline_s := batch[0].deadline_s) is None:
        return
    left_s = (deadline_s - now_s) / batch[0].num_ticks_left
    key = batch[0].key
    if left_s >= scheduler.pace.tick_s(key, batch[0].num_forward_rows):
        assert scheduler.pace.tick_s(key, width(batch)) <= left_s


@settled
@given(crowds, paces, times)
def test_asking_changes_nothing(rows, ticks_s, now_s):
    scheduler = schedule(rows, ticks_s)
    assert scheduler.next_batch(now_s) == scheduler.next_batch(now_s)
    assert len(scheduler) == len(rows) and scheduler.rows() == tuple(rows)


@settled
@given(crowds, st.data())
def test_who_left_is_never_packed(rows, data):
    scheduler = schedule(rows)
    gone = data.draw(st.lists(st.sampled_from(rows), unique=True)) if rows else []
    for row in gone:
        scheduler.remove(row)
    batch = scheduler.next_batch(0)
    assert not set(batch) & set(gone) and bool(batch) == (len(gone) < len(rows))


@briefly
@given(crowds, paces)
def test_every_row_gets_all_its_ticks_and_none_more(rows, ticks_s):
    scheduler = schedule(rows, ticks_s)
    for number in range(sum(row.num_ticks_left for row in rows)):
        for row in scheduler.next_batch(float(number)):
            row.step()
            if not row.num_ticks_left:
                scheduler.remove(row)
    assert not len(scheduler) and not any(row.num_ticks_left for row in rows)


@briefly
@given(
    st.integers(1, 3), st.integers(1, 5), st.sampled_from("ab"), st.sampled_from("ab"), paces, times
)
def test_nothing_starves_while_more_urgent_rows_keep_coming(
    size, num_ticks, key, other, ticks_s, late_s
):
    """Every second another full batch, of any key, wants to be done within the second."""
    patient = Row(0, key, size, 0.0, 1000.0 + late_s, num_ticks)
    scheduler = schedule([patient], ticks_s)
    for second in range(int(PATIENCE_S) + num_ticks + 1):
        urgent = Row(1, other, ROOM, float(second), second + 1.0)
        scheduler.add(urgent)
        batch = scheduler.next_batch(float(second))
        if patient in batch:
            patient.step()
        scheduler.remove(urgent)  # done, or too late
        if not patient.num_ticks_left:
            return
    raise AssertionError(f"{patient.num_ticks_left} ticks are still missing")
