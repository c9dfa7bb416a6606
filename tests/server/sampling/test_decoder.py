"""What happens between the last step and the pixels."""

import asyncio
import threading

from server.sampling.engine import EngineLimits
from tests.server.sampling.closed_model import ClosedModel, Record, make_request, running, until

BESIDE = EngineLimits(is_decoding_beside=True)


class Slow(ClosedModel):
    """Decodes only once it may; warming needs no leave."""

    def __init__(self):
        super().__init__()
        self.may_decode, self.num_decoded = threading.Event(), 0

    def decode(self, latents):
        if self.forwards:
            assert self.may_decode.wait(30)
            self.num_decoded += 1
        return super().decode(latents)


async def test_who_leaves_between_sampling_and_decoding_is_wasted_and_never_decoded():
    model, record = Slow(), Record()
    async with running(model, BESIDE, observer=record) as engine:
        stays = engine.submit([make_request(1, steps=2)])
        await until(lambda: record.num_steps == 2)
        leaves = engine.submit([make_request(2, steps=3), make_request(3, steps=3)])
        await until(lambda: not engine._tickets)
        leaves.release()
        model.may_decode.set()
        assert len(await stays.result) == 1
        await until(lambda: engine.num_rows == 0)
    assert record.num_wasted == 6 and model.num_decoded == 1
    assert not leaves.result.done()


async def test_sampling_goes_on_while_pixels_are_made():
    model, record = Slow(), Record()
    async with running(model, BESIDE, observer=record) as engine:
        first = engine.submit([make_request(1, steps=2)])
        await until(lambda: record.num_steps == 2)
        second = engine.submit([make_request(2, steps=5)])
        await until(lambda: record.num_steps == 7)
        assert not first.result.done() and engine.num_rows == 2
        model.may_decode.set()
        await asyncio.gather(first.result, second.result)
        await until(lambda: engine.num_rows == 0)
    assert record.num_wasted == 0


async def test_a_cpu_makes_pixels_between_two_ticks():
    """Its forwards have all the cores: a thread beside them would slow both down."""
    model = Slow()
    async with running(model) as engine:
        ticket = engine.submit([make_request(1, steps=2)])
        model.may_decode.set()
        await ticket.result
        assert engine.is_healthy
        assert "decode" not in {thread.name for thread in threading.enumerate()}
