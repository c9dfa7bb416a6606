"""Models whose every walk is known in closed form, and a gate that lets forwards through singly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import torch

from diffusion.guidance import Given, Guidance
from diffusion.noise import draw_noise
from diffusion.samplers import SAMPLERS, advance, flow_sigmas
from server.sampling.engine import Engine, EngineLimits
from server.sampling.row import RowRequest

SHAPE = (3, 4, 4)
WARM_TAG = -1.0
PLAIN = Guidance()


def make_request(
    tag=0, *, seed=0, steps=4, sampler="euler", guidance=PLAIN, mean=0.5, deadline_s=None
) -> RowRequest:
    """A row known by its `tag`; what it is given to know moves the mean of its images."""
    means = {Given.NOTHING: -mean, Given.PRODUCT: mean, Given.BOTH: mean + 1}
    conditions = {
        given: {"mean": torch.tensor([value]), "tag": torch.tensor([float(tag)])}
        for given, value in means.items()
    }
    plan = SAMPLERS[sampler](flow_sigmas(steps))
    return RowRequest(seed, plan, guidance, conditions, deadline_s)


class ClosedModel:
    """Pixels from N(mean, 1) squashed a little, so that a sampler's every step matters.

    `forwards` lists the tags of every forward's rows as it was entered, padding included.
    """

    name = "closed"
    latent_shape: tuple[int, ...] = SHAPE
    device = torch.device("cpu")

    def __init__(self):
        self.forwards: list[list[int]] = []

    def denoise(self, x, sigma, cond):
        if cond["tag"][0] != WARM_TAG:
            self.forwards.append([int(tag) for tag in cond["tag"]])
            self.enter(cond)
        return self.predict(x, sigma, cond)

    def enter(self, cond):
        """Called in every forward, on the engine's thread."""

    def predict(self, x, sigma, cond):
        mean, sigma = (value.view(-1, 1, 1, 1) for value in (cond["mean"], sigma))
        return mean + torch.tanh((x - mean) / (1 + sigma**2))

    def decode(self, latents):
        codes = (latents * 40 + 128).round().clamp(0, 255).to(torch.uint8)
        return codes.permute(0, 2, 3, 1).numpy()


class Gated(ClosedModel):
    """Holds every forward at its door until it is let in; open once `open` was called."""

    def __init__(self):
        super().__init__()
        self.is_open = False
        self._arrived, self._permits = threading.Semaphore(0), threading.Semaphore(0)

    def enter(self, cond):
        self._arrived.release()
        if not self.is_open:
            assert self._permits.acquire(timeout=30)

    async def arrival(self):
        """The next forward stands at the door: its rows are chosen."""
        assert await asyncio.to_thread(self._arrived.acquire, timeout=30)

    async def step(self, count=1):
        """Lets so many forwards in, and waits until the next one stands at the door."""
        for _ in range(count):
            self._permits.release()
            await self.arrival()

    def open(self):
        self.is_open = True
        self._permits.release()


class Broken(Gated):
    """Breaks where a row of one of `tags` takes part: an exception, or numbers that are none."""

    def __init__(self, *tags, kind="exception"):
        super().__init__()
        self.tags, self.kind = set(tags), kind

    def predict(self, x, sigma, cond):
        denoised = super().predict(x, sigma, cond)
        broken = torch.tensor([int(tag) in self.tags for tag in cond["tag"]])
        if broken.any() and self.kind == "exception":
            raise RuntimeError("a kernel fell over")
        denoised[broken] = torch.nan
        return denoised

    def decode(self, latents):
        if self.kind == "decode" and len(latents) == 2:
            raise RuntimeError("no memory for two")
        return super().decode(latents)


class Record:
    """An observer that writes everything down."""

    def __init__(self):
        self.ticks, self.num_steps, self.num_wasted = [], 0, 0
        self.queued_counts, self.queue_s, self.refusals = [], [], []

    def tick(self, bucket, num_rows, seconds):
        self.ticks.append((bucket, num_rows))

    def steps(self, count):
        self.num_steps += count

    def wasted(self, count):
        self.num_wasted += count

    def queued(self, count):
        self.queued_counts.append(count)

    def queue_seconds(self, seconds):
        self.queue_s.append(seconds)

    def refused(self, reason):
        self.refusals.append(reason)


@asynccontextmanager
async def running(model, limits=None, **options) -> AsyncIterator[Engine]:
    """A warm engine, closed at the end, with whatever it still holds."""
    engine = Engine(model, limits or EngineLimits(buckets=(1, 2, 4, 8, 16)), **options)
    engine.start(make_request(WARM_TAG))
    try:
        yield engine
    finally:
        if isinstance(model, Gated):
            model.open()
        await asyncio.to_thread(engine.close)
        assert not engine.is_healthy


async def until(condition):
    """Waits for what another thread is about to do; a test that never gets there fails by this."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def walk_alone(model, request):
    """What the row's latents must become: a loop of its own, without an engine."""
    x = draw_noise(request.seed, SHAPE)[None] * request.plan[0].sigma
    h = torch.zeros_like(x)
    for tick in request.plan:
        sigma = torch.tensor([tick.sigma])
        denoised = sum(
            weight * model.predict(x, sigma, request.conditions[given])
            for given, weight in request.guidance.terms
        )
        x, h = advance(x, denoised, h, [tick])
    return x[0]


def largest_gap(model, ticket):
    """How far the rows of a ticket are from their walks alone."""
    gaps = [(row.x - walk_alone(model, row.request)).abs().max().item() for row in ticket.rows]
    return float(np.max(gaps))
