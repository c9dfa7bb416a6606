"""Before a model serves: every bucket of it is run, and timed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from diffusion.guidance import MAX_TERMS
from diffusion.noise import draw_noise
from diffusion.walks import Term
from server.sampling.forward import SamplingModel
from server.sampling.pace import Pace
from server.sampling.row import RowRequest

log = logging.getLogger(__name__)

Learn = Callable[[SamplingModel, tuple[int, ...] | None, int, float], None]
"""A model, the shape of its latents if not its own, a bucket, and the seconds that it took."""


@dataclass(frozen=True, slots=True, eq=False)
class Newcomer:
    """A model that is to join the running ones, with a row of each shape that it is warmed with;
    `is_warm` says when it is, or what it raised."""

    model: SamplingModel
    requests: Sequence[RowRequest]
    is_warm: Future[None] = field(default_factory=Future)


def warm(model: SamplingModel, request: RowRequest, pace: Pace, learn: Learn) -> Iterator[None]:
    """Runs each bucket and one decode, so that the first request meets no cold kernel; yields
    after every forward, so that rows of other models may move in between.

    Buckets that don't fit into memory are given up. Raises what a model raises.
    """
    term = request.walk[0].terms[0]
    x = torch.zeros(1, *(request.shape or model.latent_shape), device=model.device)
    for bucket in reversed(pace.buckets):  # the largest first: it takes most memory
        try:
            for attempt in range(3):
                seconds = _time(model, x, term, bucket)
                if attempt:
                    learn(model, request.shape, bucket, seconds)
                yield
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            pace.shrink(bucket)
            if pace.largest >= bucket or pace.largest < MAX_TERMS:
                raise
            log.warning("out of memory: %s gets at most %d rows a batch", model.name, pace.largest)
    model.decode(x)


def check_places(model: SamplingModel, request: RowRequest, bucket: int) -> None:
    """Strict mode promises bytes whatever the place in a batch, which depends on how kernels share
    out the rows: raises ValueError where this device breaks the promise."""
    term = request.walk[0].terms[0]
    x = draw_noise(0, request.shape or model.latent_shape)[None].to(model.device)
    found = _run(model, x, term, bucket)
    if not all(torch.equal(found[0], row) for row in found):
        raise ValueError(
            f"strict mode: a forward of {bucket} rows with {torch.get_num_threads()} threads "
            "gives other bytes in other places of it: let engine.buckets end with a multiple of "
            "the number of threads, or set engine.strict to false"
        )


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _time(model: SamplingModel, x: torch.Tensor, term: Term, bucket: int) -> float:
    started = time.perf_counter()
    _run(model, x, term, bucket)
    synchronize(model.device)
    return time.perf_counter() - started


def _run(model: SamplingModel, x: torch.Tensor, term: Term, bucket: int) -> torch.Tensor:
    cond = {name: value.repeat_interleave(bucket, 0) for name, value in term.cond.items()}
    return model.denoise(x.repeat_interleave(bucket, 0), x.new_ones(bucket), cond)
