"""The loop: take in what came, step the rows that should move next, hand over what is finished.

One thread owns the rows and the device and speaks to the event loop through tickets only.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
import torch
from torch import Tensor

from diffusion.guidance import Given
from server.errors import DeadlineExceeded, Overloaded, SamplingFailed, Unavailable
from server.sampling.decoder import Decoder
from server.sampling.forward import SamplingModel, step_rows
from server.sampling.observer import EngineObserver, Silence
from server.sampling.pace import Pace
from server.sampling.row import Row, RowRequest, Ticket
from server.sampling.scheduler import Scheduler

log = structlog.get_logger(__name__)

STOPPED = ("the sampling engine is not running", "ENGINE_STOPPED")


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Sizes of a forward that are warmed, and how many rows may wait or walk at once."""

    buckets: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)
    max_rows: int = 256
    patience_s: float = 30.0


class Engine:
    def __init__(
        self,
        model: SamplingModel,
        limits: EngineLimits | None = None,
        observer: EngineObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.limits = limits or EngineLimits()
        self.pace = Pace(self.limits.buckets)
        if self.pace.largest < len(Given):
            raise ValueError(f"the largest bucket must hold the {len(Given)} rows of one guidance")
        self.observer = observer or Silence()
        self._clock = clock
        self._scheduler: Scheduler[Row] = Scheduler(self.pace.largest, self.limits.patience_s)
        self._incoming: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._tickets: set[Ticket] = set()
        self._num_rows = 0
        self._num_rows_lock = threading.Lock()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._decoder = Decoder(model.decode, self._forget)

    def start(self, warm: RowRequest) -> None:
        """Runs every bucket with the conditions of `warm`, then opens the loop."""
        self.warm(warm)
        self._decoder.start()
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Stops the loop; tickets still open fail with `Unavailable`."""
        self._is_closing = True
        self._incoming.put(None)
        for thread in (self._thread, self._decoder):
            if thread.ident is not None:
                thread.join(timeout_s)

    @property
    def is_healthy(self) -> bool:
        return self._thread.is_alive() and self._decoder.is_alive() and not self._is_closing

    @property
    def num_rows(self) -> int:
        """Rows waiting, walking or being decoded."""
        return self._num_rows

    def submit(
        self,
        requests: Sequence[RowRequest],
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Ticket:
        """Takes the rows of one request, all or none; called from the event loop.

        Raises `Overloaded` where they do not fit, `Unavailable` where the engine is gone.
        """
        if not self.is_healthy:
            raise Unavailable(*STOPPED)
        with self._num_rows_lock:
            if self._num_rows + len(requests) > self.limits.max_rows:
                self.observer.refused("queue_full")
                raise Overloaded(self.predict_s(requests[:1]))
            self._num_rows += len(requests)
        loop = asyncio.get_running_loop()
        ticket = Ticket(loop, loop.create_future(), on_step)
        ticket.rows = [self._start_row(request, ticket) for request in requests]
        self._incoming.put(ticket)
        if not self.is_healthy:  # it stopped since, and may not look into its queue again
            ticket.fail(Unavailable(*STOPPED))
        return ticket

    def predict_s(self, requests: Sequence[RowRequest]) -> float:
        """When these rows would be done if they came now, by measured ticks and rows ahead."""
        num_terms = len(requests[0].guidance.terms)
        num_forward_rows = (self._num_rows + len(requests)) * num_terms
        return self.pace.predict_s(len(requests[0].plan), num_forward_rows)

    def warm(self, request: RowRequest) -> None:
        """Runs each bucket and one decode, so that the first request meets no cold kernel."""
        x = torch.zeros(1, *self.model.latent_shape, device=self.model.device)
        cond = next(iter(request.conditions.values()))
        for bucket in self.limits.buckets:
            repeated = {name: value.repeat_interleave(bucket, 0) for name, value in cond.items()}
            for attempt in ("cold", "warm"):
                started = time.perf_counter()
                self.model.denoise(x.repeat_interleave(bucket, 0), x.new_ones(bucket), repeated)
                if attempt == "warm":
                    self.pace.record(bucket, time.perf_counter() - started)
        self.model.decode(x)

    def _start_row(self, request: RowRequest, ticket: Ticket) -> Row:
        key = (self.model.name, self.model.latent_shape)
        shape, device = self.model.latent_shape, self.model.device
        return Row.start(request, ticket, key, shape, device, self._clock())

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while not self._is_closing:
                    self._take_in()
                    self._drop_dead()
                    if batch := self._scheduler.next_batch():
                        self._step(batch)
        finally:  # also where the loop itself broke: nobody may wait for a dead thread
            self._is_closing = True
            self._decoder.stop()
            self._abandon()

    def _take_in(self) -> None:
        """All that came since the last tick; waits only where there is nothing else to do."""
        wait = not self._tickets
        while True:
            try:
                ticket = self._incoming.get(block=wait)
            except queue.Empty:
                break
            if ticket is None:
                return
            self._tickets.add(ticket)
            for row in ticket.rows:
                self._scheduler.add(row)
            wait = False
        self.observer.queued(sum(not row.num_ticks_done for row in self._scheduler.rows()))

    def _drop_dead(self) -> None:
        now_s = self._clock()
        for ticket in tuple(self._tickets):
            if ticket.is_released:
                self._leave(ticket)
            elif any(row.is_expired(now_s) for row in ticket.rows):
                self._leave(ticket)
                ticket.fail(DeadlineExceeded("the deadline passed while sampling"))

    def _leave(self, ticket: Ticket) -> None:
        """All rows of a ticket go, unfinished as they are."""
        self._tickets.discard(ticket)
        for row in ticket.rows:
            self._scheduler.remove(row)
            self.observer.wasted(row.num_ticks_done)
        self._forget(len(ticket.rows))

    def _forget(self, num_rows: int) -> None:
        with self._num_rows_lock:
            self._num_rows -= num_rows

    def _step(self, batch: list[Row]) -> None:
        now_s = self._clock()
        fresh = [row for row in batch if not row.num_ticks_done]
        for row in fresh:
            row.ticket.queue_s = now_s - row.submitted_s
        try:
            self._advance(batch)
        except Exception as error:  # whatever a model raises must cost its own row only
            self._isolate(batch, error)
            return
        self.observer.steps(len(batch))
        for row in fresh:
            self.observer.queue_seconds(now_s - row.submitted_s)
        for ticket in dict.fromkeys(row.ticket for row in batch):
            ticket.report_step()
            if all(row.is_finished for row in ticket.rows):
                self._hand_over(ticket)
        for row in batch:
            if row.is_finished:
                self._scheduler.remove(row)

    def _isolate(self, batch: list[Row], error: Exception) -> None:
        """A batch broke: each row walks alone once, and only those that break again are lost."""
        if len(batch) > 1:
            for row in batch:
                if not row.ticket.is_released:
                    self._step([row])
            return
        log.error("sampling failed", exc_info=error)
        self._leave(batch[0].ticket)
        batch[0].ticket.fail(SamplingFailed("sampling of this image failed"))

    def _advance(self, batch: list[Row]) -> None:
        num_forward_rows = sum(row.num_forward_rows for row in batch)
        bucket = self.pace.bucket(num_forward_rows)
        elapsed_s = step_rows(self.model, batch, bucket)
        self.pace.record(bucket, elapsed_s)
        self.observer.tick(bucket, num_forward_rows, elapsed_s)

    def _hand_over(self, ticket: Ticket) -> None:
        self._tickets.discard(ticket)
        ticket.sample_s = self._clock() - ticket.rows[0].submitted_s - ticket.queue_s
        self._decoder.put(ticket)

    def _abandon(self) -> None:
        while not self._incoming.empty():
            if (ticket := self._incoming.get()) is not None:
                self._tickets.add(ticket)
        for ticket in tuple(self._tickets):
            self._leave(ticket)
            ticket.fail(Unavailable(*STOPPED))
