"""One image on its way, and the ticket that its request holds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion.image_model import Route
from diffusion.noise import derive_seed, draw_noise
from diffusion.samplers import Plan, Tick
from diffusion.walks import Term, Walk, find_terms
from server.core import Pixels
from server.sampling.admission import Demand
from server.sampling.scheduler import find_urgency


@dataclass(frozen=True, slots=True)
class RowRequest:
    """What makes one image: its identity is all here, whatever else shares its batches.

    `max_reuse_error` lets a prediction stand for the next ones as long as the error so made is
    estimated to be smaller; 0 evaluates every tick. A walk starts from noise of `noise_scale`, if
    not of the first sigma, on `image` [C, h, w], if any; `shape` is the model's own if not given.
    `warnings` and `look` are for whoever asked; where nobody waits, it `is_background`. One that
    `is_first` of many takes hardly longer than it would alone.
    """

    model: str
    seed: int
    plan: Plan
    walk: Walk
    deadline_s: float | None = None
    max_reuse_error: float = 0.0
    shape: tuple[int, ...] | None = None
    noise_scale: float | None = None
    image: Tensor | None = None
    warnings: tuple[str, ...] = ()
    look: tuple[str, ...] = ()
    is_background: bool = False
    is_first: bool = False

    @classmethod
    def along(
        cls,
        route: Route,
        model: str,
        seed: int,
        deadline_s: float | None = None,
        max_reuse_error: float = 0.0,
    ) -> RowRequest:
        """What a model planned."""
        return cls(
            model,
            seed,
            route.plan,
            route.walk,
            deadline_s,
            max_reuse_error,
            route.shape,
            route.noise_scale,
            route.image,
            route.warnings,
            route.look,
        )

    def count_steps(self, num_ticks: int) -> int:
        return self.plan[num_ticks - 1].step if num_ticks else 0

    def list_forward_rows(self) -> list[int]:
        """Forward rows of each tick."""
        return [len(find_terms(self.walk, tick)) for tick in range(len(self.plan))]

    def num_forward_rows_from(self, tick: int) -> int:
        """Forward rows of this tick and all after it, if none is shared or left out."""
        total = 0
        for segment in self.walk:
            total += max(0, segment.stop - tick) * len(segment.terms)
            tick = max(tick, segment.stop)
        return total


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was predicted at time t = sigma / (1 + sigma), and how fast that changes: relative to
    its own size, for each unit of t; None after a first one."""

    denoised: Tensor
    t: float
    slope: Tensor | None = None
    change: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Where a walk has come to. Tensors [C, h, w] are replaced, never changed, so that any number
    of rows may go on from one state."""

    x: Tensor
    h: Tensor
    num_ticks_done: int = 0
    last: Prediction | None = None

    @classmethod
    def draw(cls, request: RowRequest, shape: Sequence[int], device: torch.device) -> State:
        scale = request.noise_scale
        x = draw_noise(request.seed, shape).to(device)
        x = x * (request.plan[0].sigma if scale is None else scale)
        if request.image is not None:
            x = x + request.image
        return cls(x, torch.zeros_like(x))

    @property
    def num_bytes(self) -> int:
        return 4 * self.x.nbytes

    def copy(self) -> State:
        """In memory of its own: a row of a batch holds on to the memory of the whole batch."""
        last = self.last
        if last is not None:
            slope = None if last.slope is None else last.slope.clone()
            last = Prediction(last.denoised.clone(), last.t, slope, last.change)
        return State(self.x.clone(), self.h.clone(), self.num_ticks_done, last)


@dataclass(slots=True, eq=False)
class Row:
    """One image between ticks; only the engine's thread touches it once submitted.

    A row whose walk another row is on already waits for it: `leader` is that row. `haste_s` is when
    it should be done: the earliest deadline among its own, the one that being first of many gives
    it, and those of the rows that wait for it; it `is_background` as long as nobody waits for any.
    """

    key: Hashable
    request: RowRequest
    ticket: Ticket
    submitted_s: float
    state: State
    haste_s: float | None = None
    is_background: bool = False
    leader: Row | None = None
    num_forward_rows_done: int = 0
    num_ticks_shared: int = 0
    num_ticks_reused: int = 0

    @property
    def deadline_s(self) -> float | None:
        return self.haste_s

    @property
    def segment_stop(self) -> int:
        """Read from other threads too: a row may step, and be finished, in the middle of this."""
        done = self.num_ticks_done
        return next((s.stop for s in self.request.walk if done < s.stop), len(self.request.plan))

    @property
    def terms(self) -> tuple[Term, ...]:
        return find_terms(self.request.walk, self.num_ticks_done)

    @property
    def num_forward_rows(self) -> int:
        return len(self.terms)

    @property
    def num_ticks_done(self) -> int:
        return self.state.num_ticks_done

    @property
    def num_ticks_left(self) -> int:
        return len(self.request.plan) - (self.leader or self).num_ticks_done

    @property
    def num_forward_rows_left(self) -> int:
        return self.request.num_forward_rows_from(self.num_ticks_done)

    @property
    def tick(self) -> Tick:
        return self.request.plan[self.num_ticks_done]

    def draw_noise(self) -> Tensor:
        """What a sampler adds after this tick [C, h, w], by seed and tick alone."""
        x, scale = self.state.x, self.tick.noise
        if not scale:
            return torch.zeros_like(x)
        seed = derive_seed(str(self.request.seed), str(self.num_ticks_done))
        return scale * draw_noise(seed, x.shape).to(x.device)

    @property
    def is_at_fork(self) -> bool:
        """Whether other terms are evaluated from here on."""
        return any(segment.stop == self.num_ticks_done for segment in self.request.walk)

    @property
    def progress(self) -> int:
        """Steps done by it, or by whom it waits for."""
        return self.request.count_steps((self.leader or self).num_ticks_done)

    @property
    def guess(self) -> Tensor | None:
        last = (self.leader or self).state.last
        return None if last is None else last.denoised

    @property
    def is_finished(self) -> bool:
        return self.num_ticks_done == len(self.request.plan)

    def is_expired(self, now_s: float) -> bool:
        return self.request.deadline_s is not None and now_s >= self.request.deadline_s


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
    tenant: Hashable = ""

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    @property
    def is_background(self) -> bool:
        return self.rows[0].is_background

    @property
    def num_forward_rows(self) -> int:
        """Forward rows that its rows took themselves."""
        return sum(row.num_forward_rows_done for row in self.rows)

    @property
    def num_steps_shared(self) -> int:
        """Steps that its rows took over from others."""
        return sum(row.request.count_steps(row.num_ticks_shared) for row in self.rows)

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
        if self.on_step is not None and (guess := self.rows[0].guess) is not None:
            self._post(self.on_step, min(row.progress for row in self.rows), guess)

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(call, *arguments)

    def _set_result(self, pixels: list[Pixels]) -> None:
        if not self.result.done():
            self.result.set_result(pixels)

    def _set_exception(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)
            self.result.exception()  # nobody may be waiting any more, and that is no fault


def list_demands(
    requests: Sequence[RowRequest],
    key_of: Callable[[str, tuple[int, ...] | None], Hashable],
    now_s: float,
    patience_s: float,
) -> list[Demand]:
    """What new rows want of a device, should they come now."""
    return [
        Demand(
            request.deadline_s,
            len(request.plan),
            request.num_forward_rows_from(0),
            key_of(request.model, request.shape),
            math.inf
            if request.is_background
            else find_urgency(now_s, request.deadline_s, patience_s),
        )
        for request in requests
    ]
