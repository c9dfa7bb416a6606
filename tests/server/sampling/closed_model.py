"""Models whose every walk is known in closed form, and a gate that lets forwards through singly."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import torch

from diffusion.guidance import Given, Guidance, combine
from diffusion.noise import derive_seed, draw_noise
from diffusion.samplers import SAMPLERS, advance, flow_sigmas
from diffusion.walks import Segment, Term, find_terms
from server.sampling.engine import Engine, EngineLimits
from server.sampling.row import RowRequest

SHAPE = (3, 4, 4)
WARM_TAG = -1.0
PLAIN = Guidance()
NUMBERS = itertools.count()


def make_request(
    tag=0,
    *,
    seed=0,
    steps=4,
    sampler="euler",
    guidance=PLAIN,
    mean=0.5,
    deadline_s=None,
    model="closed",
    forks=(),
    reuse=0.0,
) -> RowRequest:
    """A row known by its `tag`; what it is given to know moves the mean of its images.

    Nothing of it is shared, but for `forks`: each (stop, name, mean) is a segment in which all rows
    of one name and seed are given the same mean.
    """
    plan = SAMPLERS[sampler](flow_sigmas(steps))
    means = {Given.NOTHING: -mean, Given.PRODUCT: mean, Given.BOTH: mean + 1}
    segments = [
        Segment(stop, (make_term(tag, known, 1.0),), f"{name} {seed} {sampler} {steps}".encode())
        for stop, name, known in forks
    ]
    own = tuple(make_term(tag, means[given], weight) for given, weight in guidance.terms)
    segments.append(Segment(len(plan), own, f"own {next(NUMBERS)}".encode()))
    return RowRequest(model, seed, plan, tuple(segments), deadline_s, reuse)


def make_term(tag, mean, weight):
    return Term({"mean": torch.tensor([mean]), "tag": torch.tensor([float(tag)])}, weight)


class ClosedModel:
    """Pixels from N(mean, 1) squashed a little, so that a sampler's every step matters.

    `forwards` lists the tags of every forward's rows as it was entered, padding included.
    """

    latent_shape: tuple[int, ...] = SHAPE
    device = torch.device("cpu")

    def __init__(self, name="closed"):
        self.name = name
        self.forwards: list[list[int]] = []

    def denoise(self, x, sigma, cond):
        time.sleep(0.001)  # so that a tick takes about as long whatever its bucket
        if cond["tag"][0] != WARM_TAG:
            self.forwards.append([int(tag) for tag in cond["tag"]])
            self.enter(cond)
        return self.predict(x, sigma, cond)

    def enter(self, cond):
        """Called in every forward, on the engine's thread."""

    def predict(self, x, sigma, cond):
        mean, sigma = (value.view(-1, 1, 1, 1) for value in (cond["mean"], sigma))
        return mean + torch.tanh((x - mean) / (1 + sigma**2))

    combine = staticmethod(combine)

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
        self.taken_over, self.num_reused, self.kept_bytes, self.largest = [], 0, [], []

    def tick(self, model, bucket, num_rows, seconds):
        self.ticks.append((bucket, num_rows))

    def pace(self, model, shape, bucket, seconds):
        pass

    def steps(self, count):
        self.num_steps += count

    def reused(self, count):
        self.num_reused += count

    def shared(self, how, count):
        self.taken_over.append((how, count))

    def latents_bytes(self, count):
        self.kept_bytes.append(count)

    def shrunk(self, largest):
        self.largest.append(largest)

    def wasted(self, count):
        self.num_wasted += count

    def queued(self, count):
        self.queued_counts.append(count)

    def queue_seconds(self, seconds):
        self.queue_s.append(seconds)

    def refused(self, reason):
        self.refusals.append(reason)


def level(engine, model="closed", tick_s=0.0015):
    """From now on all buckets are known to take the same, and never to have taken less: no noise
    decides how rows are packed."""
    key = engine.key_of(model)
    engine.pace._curves = {k: curve for k, curve in engine.pace._curves.items() if k != key}
    for bucket in 60 * engine.pace.buckets:
        engine.pace.record(key, bucket, tick_s)


@asynccontextmanager
async def running(model, limits=None, **options) -> AsyncIterator[Engine]:
    """A warm engine, closed at the end, with whatever it still holds."""
    models = model if isinstance(model, list) else [model]
    engine = Engine(models, limits or EngineLimits(buckets=(1, 2, 4, 8, 16)), **options)
    engine.start([make_request(WARM_TAG, model=each.name) for each in models])
    for each in models:
        level(engine, each.name)
    try:
        yield engine
    finally:
        for each in models:
            if isinstance(each, Gated):
                each.open()
        await asyncio.to_thread(engine.close)
        assert not engine.is_healthy


async def until(condition):
    """Waits for what another thread is about to do; a test that never gets there fails by this."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def walk_alone(model, request):
    """What the row's latents must become: a loop of its own, without an engine."""
    x = draw_noise(request.seed, request.shape or SHAPE)[None] * request.plan[0].sigma
    h = torch.zeros_like(x)
    for number, tick in enumerate(request.plan):
        terms = find_terms(request.walk, number)
        sigma = torch.tensor([tick.sigma])
        denoised = sum(term.weight * model.predict(x, sigma, term.cond) for term in terms)
        x, h = advance(x, denoised, h, [tick])
        if tick.noise:
            again = derive_seed(str(request.seed), str(number))
            x = x + tick.noise * draw_noise(again, x.shape[1:])
    return x[0]


def largest_gap(model, ticket):
    """How far the rows of a ticket are from their walks alone."""
    gaps = [
        (row.state.x - walk_alone(model, row.request)).abs().max().item() for row in ticket.rows
    ]
    return float(np.max(gaps))
