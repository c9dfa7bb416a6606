"""One forward over the guidance rows of a batch, and one update of its samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from diffusion.denoiser import Conditions
from diffusion.samplers import advance
from server.core import Pixels
from server.sampling.row import Row


class SamplingModel(Protocol):
    """What the engine needs of a model family."""

    name: str
    latent_shape: tuple[int, ...]

    @property
    def device(self) -> torch.device: ...

    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor: ...

    def decode(self, latents: Tensor) -> Pixels: ...


def step_rows(model: SamplingModel, batch: Sequence[Row], bucket: int) -> float:
    """Takes every row of the batch through its next tick; returns the forward's seconds.

    Guidance makes one to three forward rows of an image; the forward is padded to `bucket` rows by
    repeating the last one. A model that raises leaves the rows as they were.
    """
    terms = [(i, *term) for i, row in enumerate(batch) for term in row.request.guidance.terms]
    conditions = [batch[i].request.conditions[given] for i, given, _ in terms]
    padding = bucket - len(terms)
    conditions += conditions[-1:] * padding
    x = torch.stack([row.x for row in batch])
    owner = torch.tensor([i for i, *_ in terms] + [terms[-1][0]] * padding, device=x.device)
    sigma = torch.tensor([row.tick.sigma for row in batch], device=x.device)
    cond = {name: torch.cat([c[name] for c in conditions]) for name in conditions[0]}
    started = time.perf_counter()
    predicted = model.denoise(x[owner], sigma[owner], cond)[: len(terms)]
    if x.is_cuda:  # the one sync of a tick: without it the queue of kernels has no end
        torch.cuda.current_stream(x.device).synchronize()
    elapsed_s = time.perf_counter() - started
    weight = torch.tensor([w for *_, w in terms], device=x.device).view(-1, 1, 1, 1)
    denoised = torch.zeros_like(x).index_add_(0, owner[: len(terms)], weight * predicted)
    h = torch.stack([row.h for row in batch])
    x, h = advance(x, denoised, h, [row.tick for row in batch])
    for row, *state in zip(batch, x.unbind(), h.unbind(), denoised.unbind(), strict=True):
        row.x, row.h, row.denoised = state
        row.num_ticks_done += 1
    return elapsed_s
