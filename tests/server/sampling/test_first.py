"""The first of many is there nearly as soon as it would be alone."""

import dataclasses

from server.sampling.engine import FIRST_SHARE
from tests.server.sampling.closed_model import Gated, Record, make_request, running
from tests.server.sampling.shared_walks import quiet, share, submit_all
from tests.server.sampling.test_scheduler import crowd, schedule


async def test_a_first_row_is_due_a_little_after_its_own_walk_would_end_alone():
    model = Gated()
    async with running(model) as engine:
        plain, first = (
            engine.submit([dataclasses.replace(make_request(tag), is_first=is_first)]).rows[0]
            for tag, is_first in ((1, False), (2, True))
        )
        ticks_s = [engine.pace.tick_s(first.key, n) for n in first.request.list_forward_rows()]
        model.open()
    assert plain.deadline_s is None
    assert first.deadline_s == first.submitted_s + FIRST_SHARE * sum(ticks_s)
    assert first.request.deadline_s is None, "it is nobody's deadline: nothing expires"


async def test_who_walks_ahead_of_the_first_inherits_its_haste():
    model, record = Gated(), Record()
    async with quiet(model, record) as engine:
        requests = [share(1), dataclasses.replace(share(2), is_first=True)]
        leader, first = (ticket.rows[0] for ticket in submit_all(engine, requests))
        model.open()
        await first.ticket.result
        await leader.ticket.result
    assert leader.haste_s == first.haste_s is not None


def test_the_first_of_a_slate_walks_in_small_ticks_until_it_is_done():
    """Eight at once give the best rate, in ticks that are three times as long as its own."""
    ticks_s = {1: 0.010, 2: 0.012, 4: 0.019, 8: 0.030}
    slate = crowd(8, num_ticks_left=5)
    slate[0].deadline_s = FIRST_SHARE * 5 * ticks_s[1]
    scheduler = schedule(slate, ticks_s)
    now_s = 0.0
    for _ in range(5):
        batch = scheduler.next_batch(now_s)
        assert slate[0] in batch
        now_s += scheduler.pace.tick_s("a", len(batch))
        for row in batch:
            row.num_ticks_left -= 1
    assert now_s <= slate[0].deadline_s
    scheduler.remove(slate[0])
    assert len(scheduler.next_batch(now_s)) == 7, "the others go at the best rate again"
