"""One image on its way, and the ticket that its request holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion.denoiser import Conditions
from diffusion.guidance import Given, Guidance
from diffusion.noise import draw_noise
from diffusion.samplers import Plan, Tick
from server.core import Pixels


@dataclass(frozen=True, slots=True)
class RowRequest:
    """What makes one image: its identity is all here, whatever else shares its batches."""

    seed: int
    plan: Plan
    guidance: Guidance
    conditions: Mapping[Given, Conditions]
    deadline_s: float | None = None


@dataclass(slots=True, eq=False)
class Row:
    """State of one image between ticks; only the engine's thread touches it once submitted.

    `x` and `h` [C, h, w] are the sample and what its sampler remembers.
    """

    key: Hashable
    request: RowRequest
    ticket: Ticket
    submitted_s: float
    x: Tensor
    h: Tensor
    num_ticks_done: int = 0
    denoised: Tensor | None = None

    @classmethod
    def start(
        cls,
        request: RowRequest,
        ticket: Ticket,
        key: Hashable,
        shape: Sequence[int],
        device: torch.device,
        now_s: float,
    ) -> Row:
        x = draw_noise(request.seed, shape).to(device) * request.plan[0].sigma
        return cls(key, request, ticket, now_s, x, torch.zeros_like(x))

    @property
    def deadline_s(self) -> float | None:
        return self.request.deadline_s

    @property
    def num_forward_rows(self) -> int:
        return len(self.request.guidance.terms)

    @property
    def tick(self) -> Tick:
        return self.request.plan[self.num_ticks_done]

    @property
    def num_steps_done(self) -> int:
        return self.request.plan[self.num_ticks_done - 1].step if self.num_ticks_done else 0

    @property
    def is_finished(self) -> bool:
        return self.num_ticks_done == len(self.request.plan)

    def is_expired(self, now_s: float) -> bool:
        return self.deadline_s is not None and now_s >= self.deadline_s


@dataclass(eq=False)
class Ticket:
    """The request's end of its rows: await it for pixels, release it to free what is unfinished.

    `on_step(step, denoised)` is called in the event loop with the steps that the slowest row has
    done and the first row's present guess [C, h, w], once a step.
    """

    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[list[Pixels]]
    on_step: Callable[[int, Tensor], None] | None = None
    rows: list[Row] = field(default_factory=list)
    is_released: bool = False
    queue_s: float = 0.0
    sample_s: float = 0.0
    decode_s: float = 0.0

    def release(self) -> None:
        """Rows not yet finished leave before the next forward. Callable from any thread."""
        self.is_released = True

    def resolve(self, pixels: list[Pixels]) -> None:
        self._post(self._set_result, pixels)

    def fail(self, error: Exception) -> None:
        """Tells whoever waits; for a released ticket that is nobody."""
        if not self.is_released:
            self.is_released = True
            self._post(self._set_exception, error)

    def report_step(self) -> None:
        if self.on_step is not None and (guess := self.rows[0].denoised) is not None:
            self._post(self.on_step, min(row.num_steps_done for row in self.rows), guess)

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(call, *arguments)

    def _set_result(self, pixels: list[Pixels]) -> None:
        if not self.result.done():
            self.result.set_result(pixels)

    def _set_exception(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)
