"""A row's own state, and its ticket."""

import asyncio

import pytest
import torch

from diffusion.guidance import Guidance
from diffusion.noise import draw_noise
from server.sampling.decoder import Decoder
from server.sampling.row import Row, Ticket
from tests.server.sampling.closed_model import SHAPE, make_request


def start_row(request, ticket=None, now_s=0.0):
    return Row.start(request, ticket, "key", SHAPE, torch.device("cpu"), now_s)


def make_ticket(rows=(), on_step=None):
    loop = asyncio.get_running_loop()
    return Ticket(loop, loop.create_future(), on_step, list(rows))


def test_a_row_starts_as_the_noise_of_its_seed():
    row = start_row(make_request(seed=7, steps=3))
    assert torch.equal(row.x, draw_noise(7, SHAPE) * row.request.plan[0].sigma)
    assert not row.h.any() and row.num_ticks_done == 0 and row.num_steps_done == 0


def test_a_row_counts_its_steps_by_its_plan():
    row = start_row(make_request(steps=2, sampler="heun"))
    done = []
    while not row.is_finished:
        assert row.tick is row.request.plan[row.num_ticks_done]
        row.num_ticks_done += 1
        done.append(row.num_steps_done)
    assert done == [0, 1, 2]


def test_a_row_takes_as_many_forward_rows_as_it_has_terms():
    assert start_row(make_request()).num_forward_rows == 1
    assert start_row(make_request(guidance=Guidance(2.0, 0.5))).num_forward_rows == 3


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
    row.denoised, row.num_ticks_done = row.x, 1
    ticket.report_step()
    await asyncio.sleep(0)
    assert told == [1]


async def test_the_decoder_accounts_for_every_ticket_and_ends_with_the_last():
    done: list[int] = []

    def decode(latents):
        if len(latents) == 3:
            raise RuntimeError("broken")
        return latents.numpy()

    decoder = Decoder(decode, done.append)
    tickets = [make_ticket([start_row(make_request())] * count) for count in (1, 2, 3, 4)]
    tickets[1].release()
    decoder.start()
    for ticket in tickets:
        decoder.put(ticket)
    decoder.stop()
    await asyncio.to_thread(decoder.join, 30)
    assert done == [1, 2, 3, 4] and not decoder.is_alive()
    assert len(await tickets[0].result) == 1 and len(await tickets[3].result) == 4
    assert isinstance(tickets[2].result.exception(), Exception)
    assert not tickets[1].result.done(), "released: nobody waits for it"
