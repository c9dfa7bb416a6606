"""Latents become pixels: beside the loop, on a thread and a stream of their own, or between ticks.

A CPU does it between ticks: forwards have all its cores, and a thread beside them would cost more.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch

from server.errors import SamplingFailed
from server.sampling.cores import take_cores
from server.sampling.forward import SamplingModel
from server.sampling.row import Ticket

log = logging.getLogger(__name__)

Marked = tuple[Ticket, torch.cuda.Event | None]


class Decoder(threading.Thread):
    """Decodes the finished rows of one ticket at a time and resolves it; `is_beside` by a thread.

    `on_done(ticket)` is called once for every ticket put in: decoded, failed, or left since nobody
    waits for it any more. The queue holds no more than the engine lets in rows.
    """

    def __init__(
        self,
        models: Mapping[str, SamplingModel],
        on_done: Callable[[Ticket], None],
        max_rows: int,
        is_beside: bool,
    ) -> None:
        super().__init__(name="decode", daemon=True)
        self._models, self._on_done = models, on_done
        self._device = next(iter(models.values())).device
        self._is_beside = is_beside
        self._tickets: queue.Queue[Marked | None] = queue.Queue(max_rows + 1)

    def open(self) -> None:
        if self._is_beside:
            self.start()

    @property
    def is_healthy(self) -> bool:
        return self.is_alive() or not self._is_beside

    def put(self, ticket: Ticket) -> None:
        """Called from the engine's thread, whose stream has yet to write the last update."""
        if self._is_beside:
            self._tickets.put((ticket, mark(self._device)))
        else:
            self._decode(ticket, None)

    def stop(self) -> None:
        """Ends the thread once everything put in before is decoded."""
        self._tickets.put(None)

    def run(self) -> None:
        take_cores(1)
        with side_stream(self._device):
            while (marked := self._tickets.get()) is not None:
                self._decode(*marked)

    def _decode(self, ticket: Ticket, written: torch.cuda.Event | None) -> None:
        try:
            if written is not None:
                torch.cuda.current_stream(self._device).wait_event(written)
            if not ticket.is_released:
                self._resolve(ticket)
        except Exception as error:  # a broken decode must cost its own ticket only
            log.error("decoding failed", exc_info=error)
            ticket.fail(SamplingFailed("decoding of this image failed"))
        finally:
            self._on_done(ticket)

    def _resolve(self, ticket: Ticket) -> None:
        started = time.perf_counter()
        latents = torch.stack([row.state.x for row in ticket.rows])
        if not torch.isfinite(latents).all():
            ticket.fail(SamplingFailed("sampling of this image gave no finite numbers"))
            return
        pixels = self._models[ticket.rows[0].request.model].decode(latents)
        ticket.decode_s = time.perf_counter() - started
        ticket.resolve(list(pixels))


def mark(device: torch.device) -> torch.cuda.Event | None:
    """When all that was asked of the device up to now is done."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def side_stream(device: torch.device) -> AbstractContextManager[object]:
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
