"""A row's own state, and its ticket."""

import asyncio
from dataclasses import replace

import pytest
import torch

from diffusion.guidance import Guidance
from diffusion.noise import draw_noise
from server.sampling.decoder import Decoder
from server.sampling.row import Prediction, Row, State, Ticket
from tests.server.sampling.closed_model import SHAPE, ClosedModel, make_request


def start_row(request, ticket=None, now_s=0.0):
    state = State.draw(request, SHAPE, torch.device("cpu"))
    return Row("key", request, ticket, now_s, state, request.deadline_s)


def walk_on(row, num_ticks=1):
    done = row.num_ticks_done + num_ticks
    row.state = State(row.state.x, row.state.h, done, Prediction(row.state.x, 0.5))


def make_ticket(rows=(), on_step=None):
    loop = asyncio.get_running_loop()
    return Ticket(loop, loop.create_future(), on_step, list(rows))


def test_a_row_starts_as_the_noise_of_its_seed():
    row = start_row(make_request(seed=7, steps=3))
    assert torch.equal(row.state.x, draw_noise(7, SHAPE) * row.request.plan[0].sigma)
    assert not row.state.h.any() and row.num_ticks_done == 0 and row.progress == 0
    assert row.guess is None


def test_a_walk_may_start_from_a_picture_with_less_noise_in_a_shape_of_its_own():
    shape = (3, 2, 6)
    image = torch.full(shape, 0.25)
    request = replace(make_request(seed=7), shape=shape, noise_scale=0.5, image=image)
    state = State.draw(request, shape, torch.device("cpu"))
    assert torch.equal(state.x, draw_noise(7, shape) * 0.5 + 0.25)


def test_fresh_noise_is_of_seed_and_tick_and_of_nothing_else():
    one, again = (start_row(make_request(seed=7, sampler="lcm", steps=4)) for _ in range(2))
    other = start_row(make_request(seed=8, sampler="lcm", steps=4))
    first = one.draw_noise()
    assert torch.equal(first, again.draw_noise())
    assert not torch.allclose(first, other.draw_noise())
    walk_on(one)
    assert not torch.allclose(first / one.request.plan[0].noise, one.draw_noise())
    assert one.draw_noise().std() == pytest.approx(one.tick.noise, rel=0.3)
    walk_on(one, 2)
    assert one.tick.noise == 0 and not one.draw_noise().any(), "the last step adds none"


def test_a_row_counts_its_steps_by_its_plan():
    row = start_row(make_request(steps=2, sampler="heun"))
    done = []
    while not row.is_finished:
        assert row.tick is row.request.plan[row.num_ticks_done]
        walk_on(row)
        done.append(row.progress)
    assert done == [0, 1, 2]


def test_a_row_takes_as_many_forward_rows_as_it_has_terms():
    assert start_row(make_request()).num_forward_rows == 1
    assert start_row(make_request(guidance=Guidance(2.0, 0.5))).num_forward_rows == 3


def test_a_row_takes_what_its_present_segment_has():
    dear = Guidance(2.0, 0.5)
    row = start_row(make_request(steps=6, guidance=dear, forks=[(2, "a", 0.0), (3, "b", 0.0)]))
    seen = []
    while not row.is_finished:
        stop, left = row.segment_stop, row.num_forward_rows_left
        seen.append((stop, row.num_forward_rows, left, row.num_ticks_left, row.is_at_fork))
        walk_on(row)
    assert seen == [
        (2, 1, 12, 6, False),
        (2, 1, 11, 5, False),
        (3, 1, 10, 4, True),
        (6, 3, 9, 3, True),
        (6, 3, 6, 2, False),
        (6, 3, 3, 1, False),
    ]
    assert (row.segment_stop, row.num_forward_rows_left) == (6, 0)


def test_a_row_that_waits_tells_how_far_the_one_is_that_leads():
    leader, waiting = start_row(make_request(steps=4)), start_row(make_request(steps=4))
    waiting.leader = leader
    walk_on(leader, 3)
    assert waiting.progress == 3 and waiting.guess is leader.state.last.denoised
    assert (waiting.num_ticks_done, waiting.num_ticks_left) == (0, 1)


def test_a_copied_state_holds_no_memory_of_its_batch():
    batch = torch.arange(4 * 48.0).view(4, *SHAPE)
    row = batch.unbind()[2]
    kept = State(row, 2 * row, 3, Prediction(row, 0.5, row, 0.1)).copy()
    assert kept.last is not None and kept.last.slope is not None
    for tensor in (kept.x, kept.last.denoised, kept.last.slope):
        assert torch.equal(tensor, row) and tensor.untyped_storage().nbytes() == row.nbytes
    assert kept.num_bytes == 4 * row.nbytes and kept.num_ticks_done == 3


@pytest.mark.parametrize(
    ("deadline_s", "now_s", "expired"),
    [(None, 1e9, False), (5.0, 4.9, False), (5.0, 5.0, True), (0.0, 0.0, True)],
)
def test_a_row_expires_at_its_deadline(deadline_s, now_s, expired):
    assert start_row(make_request(deadline_s=deadline_s)).is_expired(now_s) is expired


async def test_a_ticket_is_answered_from_another_thread():
    ticket = make_ticket()
    await asyncio.to_thread(ticket.resolve, ["pixels"])
    assert await ticket.result == ["pixels"]
    ticket.fail(RuntimeError("too late"))
    await asyncio.sleep(0)
    assert ticket.result.result() == ["pixels"]


async def test_a_cancelled_ticket_takes_no_answer():
    for answer in (lambda t: t.resolve([]), lambda t: t.fail(RuntimeError())):
        ticket = make_ticket()
        ticket.result.cancel()
        answer(ticket)
        await asyncio.sleep(0)
        assert ticket.result.cancelled()


async def test_a_failed_ticket_is_released():
    ticket = make_ticket()
    ticket.fail(RuntimeError("broken"))
    assert ticket.is_released
    with pytest.raises(RuntimeError, match="broken"):
        await ticket.result


async def test_nobody_waits_for_the_failure_of_a_released_ticket():
    ticket = make_ticket()
    ticket.release()
    ticket.fail(RuntimeError("broken"))
    await asyncio.sleep(0)
    assert not ticket.result.done()


def test_a_ticket_of_a_loop_that_is_gone_is_silent():
    async def ask():
        return make_ticket()

    ticket = asyncio.run(ask())
    ticket.resolve([])
    ticket.fail(RuntimeError())
    assert ticket.is_released


async def test_nothing_is_told_before_the_first_row_has_a_guess():
    told, row = [], start_row(make_request())
    ticket = make_ticket([row], lambda step, guess: told.append(step))
    ticket.report_step()
    await asyncio.sleep(0)
    assert told == []
    walk_on(row)
    ticket.report_step()
    await asyncio.sleep(0)
    assert told == [1]


async def test_the_decoder_accounts_for_every_ticket_and_ends_with_the_last():
    done: list[Ticket] = []

    class Moody(ClosedModel):
        def decode(self, latents):
            if len(latents) == 3:
                raise RuntimeError("broken")
            return super().decode(latents)

    decoder = Decoder({"closed": Moody()}, done.append, 10, is_beside=True)
    tickets = [make_ticket([start_row(make_request())] * count) for count in (1, 2, 3, 4)]
    tickets[1].release()
    decoder.start()
    for ticket in tickets:
        decoder.put(ticket)
    decoder.stop()
    await asyncio.to_thread(decoder.join, 30)
    assert done == tickets and not decoder.is_alive()
    assert len(await tickets[0].result) == 1 and len(await tickets[3].result) == 4
    assert isinstance(tickets[2].result.exception(), Exception)
    assert not tickets[1].result.done(), "released: nobody waits for it"


async def test_a_ticket_counts_what_its_rows_took_and_what_they_took_over():
    one, other = start_row(make_request(steps=4)), start_row(make_request(steps=4, sampler="heun"))
    one.num_forward_rows_done, one.num_ticks_shared = 3, 1
    other.num_forward_rows_done, other.num_ticks_shared = 5, 4
    ticket = make_ticket([one, other])
    assert ticket.num_forward_rows == 8
    assert ticket.num_steps_shared == 1 + 2, "heun takes two ticks a step"
