"""A prediction that hardly changes stands for the next ones: the row is not packed in those ticks.

In the manner of TeaCache (Liu et al., 2024), but row by row, and by what the row itself predicted:
the change of its last two predictions, carried on over the time walked since, is the estimate of
what is lost by not asking. What stands in is the straight line through the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion.samplers import advance
from server.sampling.row import Prediction, Row, State


def note(batch: Sequence[Row], denoised: Tensor) -> list[Prediction]:
    """What each row remembers of what was predicted for it now, denoised [rows, C, h, w].

    Only rows that may reuse predictions are measured; a segment's first prediction begins anew,
    since other terms were evaluated before it.
    """
    noted = [Prediction(row, member.tick.t) for row, member in zip(denoised, batch, strict=True)]
    measured: list[tuple[int, Tensor, Tensor]] = []
    for index, row in enumerate(batch):
        last = row.state.last
        if not row.request.max_reuse_error or last is None or row.is_at_fork:
            continue
        if passed := row.tick.t - last.t:  # a corrector looks twice at one time
            slope = (denoised[index] - last.denoised) / passed
            change = slope.norm() / denoised[index].norm().clamp_min(1e-6)
            measured.append((index, slope, change))
    if measured:
        changes = torch.stack([change for *_, change in measured]).tolist()  # one look at a device
        for (index, slope, _), change in zip(measured, changes, strict=True):
            noted[index] = Prediction(denoised[index], batch[index].tick.t, slope, change)
    return noted


def may_reuse(row: Row) -> bool:
    """Whether the next tick may do without a forward; the last of a walk never may."""
    last = row.state.last
    if last is None or last.change is None or row.num_ticks_left < 2 or row.is_at_fork:
        return False
    return last.change * abs(row.tick.t - last.t) < row.request.max_reuse_error


def reuse(rows: Sequence[Row]) -> None:
    """Takes every row through its next tick with what it predicted before, carried on."""
    x = torch.stack([row.state.x for row in rows])
    h = torch.stack([row.state.h for row in rows])
    denoised = torch.stack([_carry_on(row) for row in rows])
    x, h = advance(x, denoised, h, [row.tick for row in rows])
    for row, x_row, h_row in zip(rows, x.unbind(), h.unbind(), strict=True):
        row.state = State(x_row, h_row, row.num_ticks_done + 1, row.state.last)
        row.num_ticks_reused += 1


def _carry_on(row: Row) -> Tensor:
    last = row.state.last
    assert last is not None and last.slope is not None  # may_reuse says so
    return last.denoised + last.slope * (row.tick.t - last.t)
