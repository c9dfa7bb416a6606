"""Runs of the sampling engine with no server around it, and the bare loop to compare it with.

Needs torch, `diffusion/` and `server/sampling` alone: a machine with a GPU may have little else.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from diffusion.denoiser import Conditions, per_row
from diffusion.noise import draw_noise
from diffusion.samplers import advance
from diffusion.walks import Segment
from server.core import Pixels
from server.sampling.engine import Engine, EngineLimits
from server.sampling.forward import SamplingModel
from server.sampling.observer import EngineObserver
from server.sampling.row import RowRequest
from server.sampling.warming import synchronize

NUM_CORES = len(os.sched_getaffinity(0))
MAX_PSNR = 99.0
"""Of two pictures that are the same, in dB."""

Make = Callable[[int], RowRequest]
"""A request by its number; no two are alike."""

Ask = Callable[[int], Awaitable[object]]
"""One image by its number, asked for and waited for."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of some requests: a picture of each, and what they took together."""

    pixels: list[Pixels]
    num_forward_rows: int
    seconds: float

    @property
    def images_per_s(self) -> float:
        return len(self.pixels) / self.seconds


@contextmanager
def running_engine(
    models: Sequence[SamplingModel],
    warm: Sequence[RowRequest],
    limits: EngineLimits | None = None,
    observer: EngineObserver | None = None,
) -> Iterator[Engine]:
    limits = replace(limits or EngineLimits(), num_threads=NUM_CORES)
    engine = Engine(models, limits, observer)
    try:
        engine.start(warm)
        yield engine
    finally:
        engine.close()


async def sample(engine: Engine, requests: Sequence[RowRequest]) -> Run:
    """All at once, and all waited for."""
    started_s = time.perf_counter()
    tickets = [engine.submit([request]) for request in requests]
    pixels = [(await ticket.result)[0] for ticket in tickets]
    seconds = time.perf_counter() - started_s
    return Run(pixels, sum(ticket.num_forward_rows for ticket in tickets), seconds)


def ask_engine(engine: Engine, make: Make) -> Ask:
    async def ask(number: int) -> None:
        ticket = engine.submit([make(number)])
        try:
            await ticket.result
        finally:
            ticket.release()

    return ask


async def measure_saturated(ask: Ask, num_open: int, num_before: int, num_counted: int) -> float:
    """Images a second of what always has `num_open` to do: from the end of image `num_before` to
    that of the last one counted, with others still behind it."""
    moments_s: list[float] = []
    numbers = itertools.count()
    is_enough = asyncio.Event()

    async def be_client() -> None:
        while True:
            await ask(next(numbers))
            moments_s.append(time.perf_counter())
            if len(moments_s) >= num_before + num_counted:
                is_enough.set()

    clients = [asyncio.create_task(be_client()) for _ in range(num_open)]
    ended = asyncio.create_task(is_enough.wait())
    done, _ = await asyncio.wait([ended, *clients], return_when=asyncio.FIRST_COMPLETED)
    for task in (ended, *clients):
        task.cancel()
    await asyncio.gather(ended, *clients, return_exceptions=True)
    for task in done - {ended}:
        task.result()  # a client ends by an error only
    return num_counted / (moments_s[num_before + num_counted - 1] - moments_s[num_before - 1])


@torch.inference_mode()
def sample_bare(model: SamplingModel, requests: Sequence[RowRequest]) -> list[Pixels]:
    """One batch from noise to pixels, nothing between its ticks: as fast as this model goes.

    The requests walk alike: they fork at the same ticks, into as many terms.
    """
    plans = [request.plan for request in requests]
    noise = [draw_noise(request.seed, model.latent_shape) for request in requests]
    x = torch.stack([n * plan[0].sigma for n, plan in zip(noise, plans, strict=True)])
    x = x.to(model.device)
    h = torch.zeros_like(x)
    start = 0
    for alike in zip(*(request.walk for request in requests), strict=True):
        owner, weight, cond = _gather(alike, model.device)
        for number in range(start, alike[0].stop):
            ticks = [plan[number] for plan in plans]
            sigma = torch.tensor([tick.sigma for tick in ticks], device=model.device)
            predicted = model.denoise(x[owner], sigma[owner], cond)
            weighed = per_row(weight, predicted) * predicted
            x, h = advance(x, torch.zeros_like(x).index_add_(0, owner, weighed), h, ticks)
        start = alike[0].stop
    return list(model.decode(x))


def _gather(alike: Sequence[Segment], device: torch.device) -> tuple[Tensor, Tensor, Conditions]:
    """Whose each forward row is, its weight, and what it is given to know."""
    terms = [(index, term) for index, segment in enumerate(alike) for term in segment.terms]
    owner = torch.tensor([index for index, _ in terms], device=device)
    weight = torch.tensor([term.weight for _, term in terms], device=device)
    names = terms[0][1].cond
    return owner, weight, {n: torch.cat([term.cond[n] for _, term in terms]) for n in names}


def time_bare(model: SamplingModel, requests: Sequence[RowRequest], batch_size: int) -> float:
    """Images a second."""
    started_s = time.perf_counter()
    for first in range(0, len(requests), batch_size):
        sample_bare(model, requests[first : first + batch_size])
    return len(requests) / (time.perf_counter() - started_s)


@torch.inference_mode()
def time_forwards(
    model: SamplingModel, request: RowRequest, num_rows: int, num_times: int
) -> list[float]:
    """Seconds of each of so many forwards of `num_rows` rows, after one that warms."""
    x = torch.zeros(num_rows, *model.latent_shape, device=model.device)
    sigma = x.new_ones(num_rows)
    found = request.walk[-1].terms[0].cond
    cond = {name: value.repeat_interleave(num_rows, 0) for name, value in found.items()}
    seconds = []
    for _ in range(num_times + 1):
        started_s = time.perf_counter()
        model.denoise(x, sigma, cond)
        synchronize(model.device)
        seconds.append(time.perf_counter() - started_s)
    return seconds[1:]


def find_psnr(picture: Pixels, other: Pixels) -> float:
    """In dB, at most MAX_PSNR."""
    error = float(np.mean((picture.astype(np.float64) - other) ** 2)) / 255**2
    return min(MAX_PSNR, -10 * float(np.log10(error))) if error else MAX_PSNR


def find_gap(pictures: Sequence[Pixels], others: Sequence[Pixels]) -> int:
    """The largest difference of any two numbers, in 255ths."""
    pairs = zip(pictures, others, strict=True)
    return max(int(np.abs(one.astype(np.int16) - other).max()) for one, other in pairs)


def count_equal(pictures: Sequence[Pixels], others: Sequence[Pixels]) -> int:
    """How many are the same to the last bit."""
    pairs = zip(pictures, others, strict=True)
    return sum(np.array_equal(one, other) for one, other in pairs)
