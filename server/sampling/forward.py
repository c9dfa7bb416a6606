"""One forward over the guidance rows of a batch, and one update of its samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from diffusion.denoiser import Conditions
from diffusion.samplers import update
from server.core import Pixels
from server.sampling.reuse import note
from server.sampling.row import Row, State


class SamplingModel(Protocol):
    """What the engine needs of a model family."""

    name: str
    latent_shape: tuple[int, ...]

    @property
    def device(self) -> torch.device: ...

    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor: ...

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor: ...

    def decode(self, latents: Tensor) -> Pixels: ...


class Staging:
    """One small table a tick, from the host to where the model is: pinned, and used again.

    The tick's own sync, after its forward, is what makes it safe to write the next table.
    """

    def __init__(self, num_rows: int, device: torch.device) -> None:
        is_cuda = device.type == "cuda"
        self._host = torch.empty(num_rows, NUM_COLUMNS, pin_memory=is_cuda)
        self._device = device

    def send(self, numbers: Sequence[Sequence[float]]) -> Tensor:
        """[rows, columns] on the device."""
        table = self._host[: len(numbers)]
        table.copy_(torch.tensor(numbers, dtype=torch.float32))
        if self._device.type == "cpu":
            return table.clone()
        return table.to(self._device, non_blocking=True)


NUM_COLUMNS = 8
"""owner, sigma and weight of a forward row, then the five coefficients of an image's update."""


def step_rows(model: SamplingModel, staging: Staging, batch: Sequence[Row], bucket: int) -> float:
    """Takes every row of the batch through its next tick; returns the seconds that it took.

    Guidance makes one to three forward rows of an image; the forward is padded to `bucket` rows by
    repeating the last one. A model that raises leaves the rows as they were.
    """
    started = time.perf_counter()
    terms = [(i, row.tick.sigma, term) for i, row in enumerate(batch) for term in row.terms]
    conditions = [term.cond for *_, term in terms]
    conditions += conditions[-1:] * (bucket - len(terms))
    numbers = [[i, sigma, term.weight] for i, sigma, term in terms]
    numbers += [[numbers[-1][0], numbers[-1][1], 0.0]] * (bucket - len(terms))
    updates = [row.tick.coefficients for row in batch]
    updates += [(0.0,) * 5] * (bucket - len(batch))
    table = staging.send([[*row, *update] for row, update in zip(numbers, updates, strict=True)])
    owner, sigma, weight = table[:, 0].long(), table[:, 1].contiguous(), table[:, 2]
    x = torch.stack([row.state.x for row in batch])
    h = torch.stack([row.state.h for row in batch])
    cond = {name: torch.cat([c[name] for c in conditions]).to(x.device) for name in conditions[0]}
    predicted = model.denoise(x[owner], sigma, cond)
    if x.is_cuda:  # the one sync of a tick: without it the queue of kernels has no end
        torch.cuda.current_stream(x.device).synchronize()
    real = slice(len(terms))
    denoised = model.combine(predicted[real], weight[real], owner[real], x, sigma[real])
    changes = note(batch, denoised)
    x, h = update(x, denoised, h, table[: len(batch), 3:])
    if any(row.tick.noise for row in batch):
        x = x + torch.stack([row.draw_noise() for row in batch])
    for row, last, x_row, h_row in zip(batch, changes, x.unbind(), h.unbind(), strict=True):
        row.num_forward_rows_done += row.num_forward_rows
        row.state = State(x_row, h_row, row.num_ticks_done + 1, last)
    return time.perf_counter() - started
