"""Latents become pixels on a thread of their own, and on a stream of their own where there are
streams, so that the loop never waits for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import structlog
import torch

from server.errors import SamplingFailed
from server.sampling.forward import SamplingModel
from server.sampling.row import Ticket

log = structlog.get_logger(__name__)

Marked = tuple[Ticket, torch.cuda.Event | None]


class Decoder(threading.Thread):
    """Decodes the finished rows of one ticket at a time and resolves it.

    `on_done(ticket)` is called once for every ticket put in: decoded, failed, or left since nobody
    waits for it any more. The queue holds no more than the engine lets in rows.
    """

    def __init__(
        self, models: Mapping[str, SamplingModel], on_done: Callable[[Ticket], None], max_rows: int
    ) -> None:
        super().__init__(name="decode", daemon=True)
        self._models, self._on_done = models, on_done
        self._device = next(iter(models.values())).device
        self._tickets: queue.Queue[Marked | None] = queue.Queue(max_rows + 1)

    def put(self, ticket: Ticket) -> None:
        """Called from the engine's thread, whose stream has yet to write the last update."""
        self._tickets.put((ticket, mark(self._device)))

    def stop(self) -> None:
        """Ends the thread once everything put in before is decoded."""
        self._tickets.put(None)

    def run(self) -> None:
        with side_stream(self._device):
            while (marked := self._tickets.get()) is not None:
                ticket, written = marked
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
