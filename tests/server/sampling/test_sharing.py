"""Walks that agree are walked once, and nobody's image is another for it."""

import asyncio
import dataclasses
import random

import pytest

from diffusion.guidance import Guidance
from server.sampling.engine import EngineLimits
from tests.server.sampling.closed_model import (
    ClosedModel,
    Gated,
    Record,
    largest_gap,
    make_request,
    running,
    until,
)
from tests.server.sampling.shared_walks import (
    STATE_BYTES,
    TOLERANCE,
    count_rows,
    finish,
    quiet,
    share,
    submit_all,
    tags_of,
)


@pytest.mark.parametrize(("sampler", "num_ticks"), [("euler", 6), ("heun", 11), ("dpmpp_2m", 6)])
@pytest.mark.parametrize("stop", [3, 4])
async def test_rows_of_one_prefix_walk_it_once(sampler, num_ticks, stop):
    """Heun's third tick is in the middle of a step; 2M remembers its last prediction."""
    model, record = Gated(), Record()
    async with quiet(model, record) as engine:
        requests = [share(tag, (stop, "a", 0.3), sampler=sampler) for tag in range(5)]
        tickets = submit_all(engine, requests)
        model.open()
        await finish(engine, tickets)
    assert count_rows(record) == stop + 5 * (num_ticks - stop)
    assert record.taken_over == [("joined", stop)] * 4
    assert record.num_steps == count_rows(record) and record.num_wasted == 0
    assert sorted(ticket.num_forward_rows for ticket in tickets)[:4] == [num_ticks - stop] * 4
    steps = requests[0].count_steps(stop)
    assert sorted(ticket.num_steps_shared for ticket in tickets) == [0] + [steps] * 4
    assert max(largest_gap(model, ticket) for ticket in tickets) <= TOLERANCE


@pytest.mark.parametrize("is_background", [True, False])
async def test_a_walk_in_the_background_is_so_only_while_nobody_else_waits_for_it(is_background):
    model, record = Gated(), Record()
    async with quiet(model, record) as engine:
        behind = dataclasses.replace(share(1), is_background=True)
        other = dataclasses.replace(share(2), is_background=is_background)
        tickets = submit_all(engine, [behind, other])
        model.open()
        await finish(engine, tickets)
    assert record.taken_over == [("joined", 4)]
    assert [ticket.rows[0].is_background for ticket in tickets] == [is_background] * 2


async def test_rows_that_differ_anywhere_above_share_nothing():
    model, record = Gated(), Record()
    others = [
        share(1, seed=1),
        share(2, (4, "b", 0.3)),
        share(3, sampler="dpmpp_2m"),
        share(4, reuse=1e-9),
        share(5, reuse=2e-9),
        share(6, steps=7),
    ]
    async with quiet(model, record) as engine:
        tickets = submit_all(engine, [share(0), *others])
        model.open()
        await finish(engine, tickets)
    assert record.taken_over == []
    assert count_rows(record) == 6 * 6 + 7
    assert max(largest_gap(model, ticket) for ticket in tickets) <= TOLERANCE


async def test_an_engine_that_does_not_share_walks_every_row():
    model, record = Gated(), Record()
    async with quiet(model, record, EngineLimits(buckets=(16,), is_sharing=False)) as engine:
        tickets = submit_all(engine, [share(tag) for tag in range(3)])
        model.open()
        await finish(engine, tickets)
    assert count_rows(record) == 18 and not record.taken_over and not record.kept_bytes
    assert max(largest_gap(model, ticket) for ticket in tickets) <= TOLERANCE


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
async def test_a_later_row_goes_on_from_what_was_kept(sampler):
    model, record = ClosedModel(), Record()
    async with quiet(model, record) as engine:
        await finish(engine, [engine.submit([share(1, sampler=sampler)])])
        first = count_rows(record)
        later = engine.submit([share(2, sampler=sampler)])
        await finish(engine, [later])
    assert record.taken_over == [("kept", 4)]
    assert count_rows(record) - first == first - 4 == later.num_forward_rows
    assert largest_gap(model, later) <= TOLERANCE


async def test_a_row_that_comes_in_the_middle_of_the_prefix_still_joins():
    model, record = Gated(), Record()
    async with quiet(model, record) as engine:
        first = engine.submit([share(1)])
        await model.arrival()
        await model.step(2)
        second = engine.submit([share(2)])
        model.open()
        await finish(engine, [first, second])
    assert record.taken_over == [("joined", 4)] and count_rows(record) == 6 + 2
    assert largest_gap(model, second) <= TOLERANCE


async def test_what_is_kept_is_bounded_by_bytes_and_used_last_goes_last():
    model, record = ClosedModel(), Record()
    # Each row keeps two states: where its prefix ends, and where it ends itself.
    limits = EngineLimits(buckets=(16,), shared_latents_bytes=4 * STATE_BYTES)
    async with quiet(model, record, limits) as engine:

        async def is_found(name):
            before = len(record.taken_over)
            await finish(engine, [engine.submit([share(0, (4, name, 0.3))])])
            return len(record.taken_over) > before

        assert [await is_found(name) for name in "abacab"] == [0, 0, 1, 0, 1, 0]
    assert max(record.kept_bytes) == record.kept_bytes[-1] == 4 * STATE_BYTES


async def test_without_room_nothing_is_kept_yet_what_runs_beside_is_shared():
    model, record = Gated(), Record()
    limits = EngineLimits(buckets=(16,), shared_latents_bytes=STATE_BYTES - 1)
    async with quiet(model, record, limits) as engine:
        tickets = submit_all(engine, [share(1), share(2)])
        model.open()
        await finish(engine, tickets)
        assert record.taken_over == [("joined", 4)] and count_rows(record) == 8
        await finish(engine, [engine.submit([share(3)])])
    assert len(record.taken_over) == 1 and not any(record.kept_bytes)


async def test_prefixes_fork_at_two_levels():
    model, record = Gated(), Record()
    a = (2, "a", 0.3)
    forks = [[a, (4, "b", 0.6)], [a, (4, "b", 0.6)], [a, (4, "c", 0.9)], [a]]
    async with quiet(model, record) as engine:
        requests = [share(tag, *each) for tag, each in enumerate(forks)]
        tickets = submit_all(engine, requests)
        model.open()
        await finish(engine, tickets)
    assert count_rows(record) == 2 + 2 * 2 + 3 * 2 + 4
    assert sorted(record.taken_over) == [("joined", 2)] * 2 + [("joined", 4)]
    assert max(largest_gap(model, ticket) for ticket in tickets) <= TOLERANCE


async def test_rows_that_are_the_same_are_walked_once_and_later_not_at_all():
    model, record, request = Gated(), Record(), make_request(1, steps=5)
    async with quiet(model, record) as engine:
        pair, single = engine.submit([request, request]), engine.submit([request])
        model.open()
        await finish(engine, [pair, single])
        assert count_rows(record) == 5
        later = engine.submit([request])
        await finish(engine, [later])
    assert count_rows(record) == 5 and later.num_forward_rows == 0
    assert later.num_steps_shared == 5 and record.taken_over[-1] == ("kept", 5)
    images = [*pair.result.result(), *single.result.result(), *later.result.result()]
    assert len({image.tobytes() for image in images}) == 1 and len(images) == 4


async def test_a_deadline_hurries_whom_its_row_waits_for():
    model, record = Gated(), Record()
    async with quiet(model, record, EngineLimits(buckets=(3,)), clock=lambda: 0.0) as engine:
        patient = engine.submit([share(1)])
        await model.arrival()
        dear = engine.submit([make_request(7, guidance=Guidance(2.0, 0.5), deadline_s=20.0)])
        pressed = engine.submit([share(2, deadline_s=10.0)])
        model.open()
        await finish(engine, [patient, dear, pressed])
    tags = tags_of(model)
    assert tags[:6] == [[1]] * 4 + [[1, 2]] * 2, "7 fills a forward alone, and is less pressed"
    assert tags[6:] == [[7]] * 4


async def test_who_waits_is_told_of_the_steps_it_takes_part_in():
    model, record, told = Gated(), Record(), []
    async with quiet(model, record) as engine:
        first = engine.submit([share(1)])
        await model.arrival()
        second = engine.submit([share(2)], lambda step, guess: told.append((step, guess)))
        await model.step(1)
        model.open()
        await finish(engine, [first, second])
    assert [step for step, _ in told] in ([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6])
    assert all(guess.shape == (3, 4, 4) for _, guess in told)


async def test_rows_that_wait_are_charged_for_what_comes_after():
    model, record = Gated(), Record()
    async with quiet(model, record) as engine:
        tickets = submit_all(engine, [share(tag) for tag in range(3)])
        await model.arrival()
        await model.step(1)
        await until(lambda: engine._shared.num_waiting == 2)
        left = [engine._demand_of(ticket.rows[0]).num_forward_rows_left for ticket in tickets]
        assert left == [5, 2, 2]
        model.open()
        await finish(engine, tickets)


async def test_a_crowd_that_comes_and_goes_is_served_right_and_leaves_nothing_behind():
    chance = random.Random(3)
    model, record = ClosedModel(), Record()
    async with running(model, observer=record) as engine:
        tickets, gone = [], set()
        for number in range(120):
            a, b = chance.choice("ab"), chance.choice("xyz")
            forks = [(2, a, 0.3), (4, a + b, 0.6)][: chance.randint(0, 2)]
            sampler = chance.choice(["euler", "dpmpp_2m"])
            request = make_request(number, forks=forks, steps=6, sampler=sampler, mean=number / 99)
            tickets.append(engine.submit([request] * chance.choice([1, 1, 2])))
            if chance.random() < 0.4:
                gone.add(victim := chance.choice(tickets))
                victim.release()
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.004]))
        await finish(engine, [ticket for ticket in tickets if ticket not in gone])
    stayed = [ticket for ticket in tickets if ticket not in gone]
    assert len(stayed) > 60 and record.taken_over
    assert max(largest_gap(model, ticket) for ticket in stayed) <= TOLERANCE
