"""A row that leads may leave or break at any time: those who waited for it lose nothing."""

from server.errors import DeadlineExceeded, SamplingFailed
from tests.server.sampling.closed_model import Broken, Gated, Record, largest_gap, make_request
from tests.server.sampling.shared_walks import (
    TOLERANCE,
    count_rows,
    finish,
    quiet,
    share,
    submit_all,
    tags_of,
)


async def lose_leader(model, record, lose, **options):
    """Three rows share four of six ticks; `lose(first ticket)` at the door of the third."""
    async with quiet(model, record, **options) as engine:
        deadline_s = 10.0 if "clock" in options else None
        first = engine.submit([share(1, deadline_s=deadline_s)])
        await model.arrival()
        others = submit_all(engine, [share(2), share(3)])
        await model.step(2)
        lose(first)
        model.open()
        await finish(engine, others)
        assert max(largest_gap(model, ticket) for ticket in others) <= TOLERANCE
    return first, others


async def test_the_heir_of_a_cancelled_leader_loses_no_step():
    model, record = Gated(), Record()
    first, _ = await lose_leader(model, record, lambda ticket: ticket.release())
    assert tags_of(model) == [[1], [1], [1], [2], [2, 3], [2, 3]]
    assert record.taken_over == [("joined", 4)] and record.num_wasted == 0
    assert not first.result.done()


async def test_the_heir_of_an_expired_leader_loses_no_step():
    model, record, now_s = Gated(), Record(), [0.0]

    def expire(ticket):
        now_s[0] = 10.0

    first, _ = await lose_leader(model, record, expire, clock=lambda: now_s[0])
    assert tags_of(model) == [[1], [1], [1], [2], [2, 3], [2, 3]]
    assert isinstance(first.result.exception(), DeadlineExceeded)


async def test_the_heir_of_a_leader_that_broke_goes_on_from_its_last_good_state():
    model, record = Broken(), Record()
    first, _ = await lose_leader(model, record, lambda ticket: model.tags.add(1))
    assert tags_of(model) == [[1], [1], [1], [2], [2], [2, 3], [2, 3]]
    assert isinstance(first.result.exception(), SamplingFailed)


async def test_a_leader_without_numbers_poisons_nobody_though_it_leaves():
    model, record = Broken(1, kind="nan"), Record()
    await lose_leader(model, record, lambda ticket: ticket.release())
    assert tags_of(model) == [[1]] * 3 + [[2]] * 4 + [[2, 3]] * 2, "walked anew"


async def test_a_leader_without_numbers_poisons_nobody_at_the_fork():
    model, record = Broken(1, kind="nan"), Record()
    first, _ = await lose_leader(model, record, lambda ticket: None)
    assert isinstance(first.result.exception(), SamplingFailed)
    assert record.taken_over == [("joined", 4)], "of the two that are sound"


async def test_nothing_is_kept_of_a_row_without_numbers():
    model, record = Broken(1, kind="nan"), Record()
    model.open()
    async with quiet(model, record) as engine:
        await finish(engine, [engine.submit([share(1)])])
        assert not record.kept_bytes
        sound = engine.submit([share(2)])
        await finish(engine, [sound])
    assert not record.taken_over and largest_gap(model, sound) <= TOLERANCE


async def test_who_waits_is_not_given_up_while_the_one_that_leads_gets_on(monkeypatch):
    """Of 20 ticks at one second each it needs two after the prefix, and has 25 seconds."""
    model, record, now_s = Gated(), Record(), [0.0]
    async with quiet(model, record, clock=lambda: now_s[0]) as engine:
        monkeypatch.setattr(engine.pace, "tick_s", lambda key, num_rows: 1.0)
        first = engine.submit([share(1, (18, "a", 0.3), steps=20)])
        await model.arrival()
        waiting = engine.submit([share(2, (18, "a", 0.3), steps=20, deadline_s=25.0)])
        for _ in range(19):
            now_s[0] += 1.0
            await model.step(1)
        model.open()
        await finish(engine, [first, waiting])
    assert len(waiting.result.result()) == 1 and waiting.num_steps_shared == 18


async def test_a_leader_that_is_the_last_to_want_its_walk_leaves_with_it():
    model, record = Gated(), Record()
    async with quiet(model, record) as engine:
        request = share(1)
        ticket, other = engine.submit([request, request]), engine.submit([share(2, seed=9)])
        await model.arrival()
        await model.step(2)
        ticket.release()
        model.open()
        await finish(engine, [other])
    assert record.num_wasted == 3 == count_rows(record) - 6


async def test_a_row_that_is_released_while_it_waits_frees_its_place():
    """Nothing steps any more and nothing comes: it must go all the same."""
    model, record, request = Gated(), Record(), make_request(1, steps=3)
    async with quiet(model, record) as engine:
        leader, waiting = engine.submit([request]), engine.submit([request])
        await model.arrival()
        await model.step(2)
        waiting.release()
        model.open()
        await finish(engine, [leader])
    assert count_rows(record) == 3 and not waiting.result.done()
