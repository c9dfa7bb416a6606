"""The loop: take in what came, step the rows that should move next, hand over what is finished.

One thread owns the rows and the device and speaks to the event loop through tickets only.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.guidance import MAX_TERMS
from server.errors import DeadlineExceeded, Overloaded, SamplingFailed, Unavailable
from server.sampling.admission import PRUDENCE, Demand, Forecast
from server.sampling.cores import give_way, take_cores
from server.sampling.decoder import Decoder
from server.sampling.forward import SamplingModel, Staging, step_rows
from server.sampling.observer import EngineObserver, Silence
from server.sampling.pace import Pace
from server.sampling.reuse import may_reuse, reuse
from server.sampling.row import Row, RowRequest, State, Ticket, list_demands
from server.sampling.scheduler import Scheduler, find_urgency
from server.sampling.sharing import SharedWalks
from server.sampling.warming import Newcomer, check_places, warm

log = logging.getLogger(__name__)

_Incoming = Ticket | Newcomer | Callable[[], None] | None
"""Rows, a model, something to be done between ticks, or the end."""

STOPPED = ("the sampling engine is not running", "ENGINE_STOPPED")

FIRST_SHARE = 1.25
"""Of the time that a row takes alone: what the first of many may take."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Sizes of a forward that are warmed, and how many rows may wait or walk at once.

    Where hardly any rows per second are lost by it, a tick takes no longer than `brisk_s`.
    `is_strict` always takes the largest bucket, so that bytes are the same whatever shares a batch;
    `shared_latents_bytes` bounds what is kept of walks for those who walk them later. A forward on
    a CPU takes `num_threads` threads, 0 for as many as torch takes by itself. Pixels are decoded
    beside the loop, or between its ticks; if not said, the latter on a CPU.
    """

    buckets: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)
    max_rows: int = 256
    patience_s: float = 30.0
    brisk_s: float = 0.05
    is_strict: bool = False
    is_sharing: bool = True
    shared_latents_bytes: int = 64 * 1024 * 1024
    num_threads: int = 0
    is_decoding_beside: bool | None = None


class Engine:
    """Samples with the models of one device."""

    def __init__(
        self,
        models: Sequence[SamplingModel],
        limits: EngineLimits | None = None,
        observer: EngineObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or EngineLimits()
        buckets = self.limits.buckets[-1:] if self.limits.is_strict else self.limits.buckets
        self.pace = Pace(buckets)
        if self.pace.largest < MAX_TERMS:
            raise ValueError(f"the largest bucket must hold the {MAX_TERMS} rows of one guidance")
        self.models = {model.name: model for model in models}
        self.observer = observer or Silence()
        self._clock = clock
        self._stepped_s: float | None = None  # when the last forward ended, unless all waited since
        self._device = models[0].device
        self._to_warm: dict[str, list[RowRequest]] = {}
        self._lock = threading.Lock()
        self._equip()

    def _equip(self) -> None:
        """All that a loop has of its own: the next one begins with nothing."""
        self._staging = Staging(self.pace.largest, self._device)
        self._scheduler: Scheduler[Row] = Scheduler(
            self.pace, self.limits.patience_s, brisk_s=self.limits.brisk_s
        )
        self._shared = SharedWalks(
            self.limits.shared_latents_bytes, self.observer, self._hurry, self.limits.is_sharing
        )
        self._incoming: queue.SimpleQueue[_Incoming] = queue.SimpleQueue()
        self._warming: list[tuple[Newcomer, Iterator[None]]] = []
        self._tickets: dict[Ticket, None] = {}
        self._num_rows = 0
        self._is_warm = threading.Event()
        self._is_closing = False
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        is_beside = self.limits.is_decoding_beside
        if is_beside is None:
            is_beside = self._device.type != "cpu"
        self._decoder = Decoder(self.models, self._decoded, self.limits.max_rows, is_beside)

    def start(self, requests: Sequence[RowRequest] = ()) -> None:
        """Runs every bucket of every model with the conditions of `requests`, one for each, then
        opens the loop. Raises what a model raises."""
        for request in requests:
            self._to_warm.setdefault(request.model, []).append(request)
        self._thread.start()
        self._is_warm.wait()
        if self._broken is not None:
            raise self._broken
        self._decoder.open()

    def restart(self, timeout_s: float = 10.0) -> None:
        """A new loop in place of one that broke, with every model warmed again.

        Raises what a model raises, and RuntimeError where the old loop hangs.
        """
        self.close(timeout_s)
        if self._thread.is_alive() or self._decoder.is_alive():
            raise RuntimeError("the loop of the engine hangs")
        self._equip()
        self.start()

    def add(self, model: SamplingModel, requests: Sequence[RowRequest]) -> Future[None]:
        """A further model, warmed between the ticks of the others: done when it may be asked for.

        `requests` are a row for each shape of its latents. Callable from any thread.
        """
        newcomer = Newcomer(model, requests)
        self._incoming.put(newcomer)
        if not self.is_healthy:
            newcomer.is_warm.cancel()
        return newcomer.is_warm

    def remove(self, model: str) -> None:
        """Forgets a model that nobody asks for any more."""
        self._to_warm.pop(model, None)
        self.models.pop(model, None)

    def forget_walks(self) -> int:
        """Gives up what is kept of walks, soon; how many states. Callable from any thread."""
        num_kept = self._shared.num_kept
        self._incoming.put(self._shared.clear)
        return num_kept

    def close(self, timeout_s: float = 10.0) -> None:
        """Stops the loop; tickets still open fail with `Unavailable`."""
        self._is_closing = True
        self._incoming.put(None)
        for thread in (self._thread, self._decoder):
            if thread.ident is not None:
                thread.join(timeout_s)

    @property
    def is_healthy(self) -> bool:
        is_running = self._thread.is_alive() and self._decoder.is_healthy
        return is_running and self._is_warm.is_set() and not self._is_closing

    @property
    def device(self) -> str:
        return str(self._device)

    @property
    def num_rows(self) -> int:
        """Rows waiting, walking or being decoded."""
        return self._num_rows

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        """Of rows that wait or walk; asked for from other threads too."""
        return tuple(self._tickets)

    def key_of(
        self, model: str, shape: tuple[int, ...] | None = None
    ) -> tuple[str, tuple[int, ...]]:
        """Rows of one key may share a forward; a model computes in one number format."""
        return model, shape or self.models[model].latent_shape

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
        with self._lock:
            if self._num_rows + len(requests) > self.limits.max_rows:
                self.observer.refused("queue_full")
                raise Overloaded(self.forecast().finish_s(self.demand(requests)))
            self._num_rows += len(requests)
        try:
            loop = asyncio.get_running_loop()
            ticket = Ticket(loop, loop.create_future(), on_step)
            ticket.rows = [self._start_row(request, ticket) for request in requests]
        except BaseException:
            self._forget(len(requests))
            raise
        self._tickets[ticket] = None
        self._incoming.put(ticket)
        if not self.is_healthy:  # it stopped since, and may not look into its queue again
            ticket.fail(Unavailable(*STOPPED))
        return ticket

    def forecast(self) -> Forecast:
        """What the rows that are open now leave to new ones.

        Where there are none, ticks are expected to be as fast as the best of late: a spell in which
        they were so slow that nobody was let in would else never be found to be over.
        """
        rows = self._open_rows()
        open_demands = [self._demand_of(row) for row in rows if not row.is_finished]
        # A tick under way is not interrupted, and the OS takes its share: a little is kept back.
        slowest_s = max((self.pace.tick_s(row.key, self.pace.largest) for row in rows), default=0.0)
        now_s = self._clock()
        pace = self.pace if open_demands else self.pace.at_best()
        return Forecast(pace, open_demands, now_s, slowest_s / 4, prudence=PRUDENCE)

    def demand(self, requests: Sequence[RowRequest]) -> list[Demand]:
        return list_demands(requests, self.key_of, self._clock(), self.limits.patience_s)

    def load_s(self) -> float:
        """Seconds of work that wait at this device, by measured ticks."""
        rows = self._open_rows()
        rate = {key: self.pace.rate(key) for key in {row.key for row in rows}}
        return sum(row.num_forward_rows_left / rate[row.key] for row in rows)

    def _open_rows(self) -> list[Row]:
        return [row for ticket in self.tickets for row in ticket.rows]

    def _start_row(self, request: RowRequest, ticket: Ticket) -> Row:
        model = self.models[request.model]
        key = self.key_of(request.model, request.shape)
        state = State.draw(request, key[1], model.device)
        row = Row(key, request, ticket, self._clock(), state, request.deadline_s)
        row.is_background = request.is_background
        if request.is_first:
            own_s = sum(self.pace.tick_s(key, num_rows) for num_rows in request.list_forward_rows())
            row.haste_s = find_urgency(row.submitted_s, row.deadline_s, FIRST_SHARE * own_s)
        return row

    def _demand_of(self, row: Row) -> Demand:
        """A row that waits for another is charged only for what comes after."""
        request, leader = row.request, row.leader
        first = row.num_ticks_done if leader is None else leader.segment_stop
        urgency_s = self._scheduler.urgency(row)
        num_rows = request.num_forward_rows_from(first)
        return Demand(request.deadline_s, row.num_ticks_left, num_rows, row.key, urgency_s)

    def _run(self) -> None:
        if self.limits.num_threads:
            take_cores(self.limits.num_threads)
        give_way()
        try:
            with torch.inference_mode():
                self._warm()
                self._is_warm.set()
                while not self._is_closing:
                    self._take_in()
                    self._drop_dead()
                    if batch := self._scheduler.next_batch(self._clock()):
                        self._step(batch)
                    if self._warming:
                        self._warm_further()
        except BaseException as error:
            self._broken = error
            log.error("the sampling engine broke", exc_info=error)
        finally:  # also where the loop itself broke: nobody may wait for a dead thread
            self._is_closing = True
            self._is_warm.set()
            self._decoder.stop()
            self._abandon()

    def _warm(self) -> None:
        for name, requests in tuple(self._to_warm.items()):
            for request in requests:
                for _ in self._warm_one(self.models[name], request):
                    pass

    def _warm_one(self, model: SamplingModel, request: RowRequest) -> Iterator[None]:
        yield from warm(model, request, self.pace, self._learn)
        if self.limits.is_strict:
            check_places(model, request, self.pace.largest)

    def _warm_further(self) -> None:
        """One forward of one who is new."""
        newcomer, forwards = self._warming[0]
        try:
            next(forwards)
        except StopIteration:
            self._to_warm[newcomer.model.name] = list(newcomer.requests)
            newcomer.is_warm.set_result(None)
        except Exception as error:  # it does not join, and the others go on
            self.models.pop(newcomer.model.name, None)
            newcomer.is_warm.set_exception(error)
        if newcomer.is_warm.done():
            self._warming.pop(0)

    def _take_in(self) -> None:
        """All that came since the last tick; waits only where there is nothing else to do."""
        # A released ticket may have no row that steps: it still must go.
        wait = not self._tickets and not self._warming
        if wait:
            self._stepped_s = None
        # No more than are there now: who is answered at once may ask again before this ends.
        for _ in range(max(self._incoming.qsize(), int(wait))):
            ticket = self._incoming.get()
            if ticket is None:
                return
            if isinstance(ticket, Newcomer):
                self._greet(ticket)
                continue
            if not isinstance(ticket, Ticket):
                ticket()
                continue
            if not ticket.is_released:
                self._enter(ticket.rows)
        self.observer.queued(sum(not row.num_ticks_done for row in self._scheduler.rows()))

    def _greet(self, newcomer: Newcomer) -> None:
        model = newcomer.model
        self.models[model.name] = model
        forwards = (self._warm_one(model, request) for request in newcomer.requests)
        self._warming.append((newcomer, itertools.chain.from_iterable(forwards)))

    def _enter(self, rows: Iterable[Row]) -> None:
        """Rows go on from as far as others have come, by themselves or behind one who leads."""
        for row in rows:
            if row.ticket.is_released or not self._shared.join(row):
                continue
            if row.is_finished:
                self._finish(row)
            else:
                self._scheduler.add(row)

    def _hurry(self, row: Row) -> None:
        """A row became more urgent: it is put where it belongs now."""
        self._scheduler.remove(row)
        self._scheduler.add(row)

    def _drop_dead(self) -> None:
        now_s = self._clock()
        for ticket in tuple(self._tickets):
            if ticket.is_released:
                self._leave(ticket)
            elif any(self._is_lost(row, now_s) for row in ticket.rows):
                ticket.fail(DeadlineExceeded("the deadline passed while sampling"))
                self._leave(ticket)

    def _is_lost(self, row: Row, now_s: float) -> bool:
        """Whether no haste can save it: the deadline passed, or is nearer than what is left of the
        walk takes with nobody beside it, in the fastest ticks of late."""
        if row.request.deadline_s is None or row.is_finished:
            return False
        alone_s = row.num_ticks_left * self.pace.best_tick_s(row.key, row.num_forward_rows)
        return now_s + alone_s >= row.request.deadline_s

    def _leave(self, ticket: Ticket) -> None:
        """All rows of a ticket go, unfinished as they are."""
        if ticket not in self._tickets:
            return
        del self._tickets[ticket]
        ticket.is_released = True
        for row in ticket.rows:
            self._scheduler.remove(row)
            heirs = self._shared.leave(row)
            if not heirs:
                self.observer.wasted(row.num_ticks_done - row.num_ticks_shared)
            self._enter(heirs)
        self._forget(len(ticket.rows))

    def _forget(self, num_rows: int) -> None:
        with self._lock:
            self._num_rows -= num_rows

    def _step(self, batch: list[Row], is_retry: bool = False) -> None:
        now_s = self._clock()
        fresh = [row for row in batch if not row.num_forward_rows_done]
        for row in fresh:
            row.ticket.queue_s = now_s - row.submitted_s
        try:
            self._advance(batch)
        except torch.OutOfMemoryError as error:
            self._shrink(batch, error, is_retry)
            return
        except torch.AcceleratorError:
            raise  # the device is gone, and with it every row on it
        except Exception as error:  # whatever a model raises must cost its own row only
            self._isolate(batch, error)
            return
        for row in fresh:
            self.observer.queue_seconds(now_s - row.submitted_s)
        while batch:
            self.observer.steps(len(batch))
            for row in batch:
                self._arrive(row)
            if batch := [row for row in batch if may_reuse(row)]:
                reuse(batch)
                self.observer.reused(len(batch))

    def _arrive(self, row: Row) -> None:
        """After a tick: tells how far it is, and lets those go on who waited for it."""
        for ticket in dict.fromkeys((row.ticket, *self._shared.tickets_behind(row))):
            ticket.report_step()
        followers = self._shared.arrive(row)
        if row.is_finished:
            self._scheduler.remove(row)
            self._finish(row)
        self._enter(followers)

    def _isolate(self, batch: list[Row], error: Exception) -> None:
        """A batch broke: each row walks alone once, and only those that break again are lost."""
        if len(batch) > 1:
            for row in batch:
                if not row.ticket.is_released:
                    self._step([row])
            return
        log.error("sampling failed", exc_info=error)
        batch[0].ticket.fail(SamplingFailed("sampling of this image failed"))
        self._leave(batch[0].ticket)

    def _shrink(self, batch: list[Row], error: Exception, is_retry: bool) -> None:
        """Out of memory: rows stay as they were and are packed anew, in smaller forwards. A row by
        itself is tried once more, with what was kept of walks given up."""
        bucket = self.pace.bucket(sum(row.num_forward_rows for row in batch))
        self._shared.clear()
        torch.cuda.empty_cache()
        if len(batch) == 1 and not is_retry:
            self._step(batch, is_retry=True)
            return
        smaller = [size for size in self.pace.buckets if size < bucket]
        if len(batch) == 1 or not smaller or smaller[-1] < MAX_TERMS:
            self._isolate(batch, error)
            return
        self.pace.shrink(bucket)
        log.warning("out of memory: at most %d rows in a batch from now on", self.pace.largest)
        self.observer.shrunk(self.pace.largest)

    def _advance(self, batch: list[Row]) -> None:
        num_forward_rows = sum(row.num_forward_rows for row in batch)
        bucket = self.pace.bucket(num_forward_rows)
        model = self.models[batch[0].request.model]
        # What is done between two forwards is paid by those who wait, too.
        between_s = 0.0 if self._stepped_s is None else time.perf_counter() - self._stepped_s
        elapsed_s = step_rows(model, self._staging, batch, bucket)
        self._stepped_s = time.perf_counter()
        self._learn(model, batch[0].request.shape, bucket, between_s + elapsed_s)
        self.observer.tick(model.name, bucket, num_forward_rows, elapsed_s)

    def _learn(
        self, model: SamplingModel, shape: tuple[int, ...] | None, bucket: int, elapsed_s: float
    ) -> None:
        key = self.key_of(model.name, shape)
        self.pace.record(key, bucket, elapsed_s)
        told = "x".join(map(str, key[1]))
        self.observer.pace(model.name, told, bucket, self.pace.tick_s(key, bucket))

    def _finish(self, row: Row) -> None:
        """The last of its ticket's rows hands them over."""
        ticket = row.ticket
        if ticket in self._tickets and all(row.is_finished for row in ticket.rows):
            del self._tickets[ticket]
            ticket.sample_s = self._clock() - ticket.rows[0].submitted_s - ticket.queue_s
            self._decoder.put(ticket)

    def _decoded(self, ticket: Ticket) -> None:
        """Called by whatever thread decodes."""
        if ticket.is_released:
            for row in ticket.rows:
                self.observer.wasted(row.num_ticks_done - row.num_ticks_shared)
        self._forget(len(ticket.rows))

    def _abandon(self) -> None:
        for newcomer, _ in self._warming:
            newcomer.is_warm.cancel()
        for ticket in itertools.chain(tuple(self._tickets), drain(self._incoming)):
            if isinstance(ticket, Newcomer):
                ticket.is_warm.cancel()
            else:
                ticket.fail(Unavailable(*STOPPED))
                self._leave(ticket)


def drain(
    incoming: queue.SimpleQueue[_Incoming],
) -> Iterator[Ticket | Newcomer]:
    while not incoming.empty():
        if isinstance(thing := incoming.get(), Ticket | Newcomer):
            yield thing
