"""Latents become pixels on a thread of their own, so that the loop never waits for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import structlog
import torch
from torch import Tensor

from server.core import Pixels
from server.errors import SamplingFailed
from server.sampling.row import Ticket

log = structlog.get_logger(__name__)


class Decoder(threading.Thread):
    """Decodes the finished rows of one ticket at a time and resolves it.

    `on_done(num_rows)` is called once for every ticket put in, decoded or failed.
    """

    def __init__(self, decode: Callable[[Tensor], Pixels], on_done: Callable[[int], None]) -> None:
        super().__init__(name="decode", daemon=True)
        self._decode, self._on_done = decode, on_done
        self._tickets: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()

    def put(self, ticket: Ticket) -> None:
        self._tickets.put(ticket)

    def stop(self) -> None:
        """Ends the thread once everything put in before is decoded."""
        self._tickets.put(None)

    def run(self) -> None:
        while (ticket := self._tickets.get()) is not None:
            try:
                if not ticket.is_released:
                    self._resolve(ticket)
            except Exception as error:  # a broken decode must cost its own ticket only
                log.error("decoding failed", exc_info=error)
                ticket.fail(SamplingFailed("decoding of this image failed"))
            finally:
                self._on_done(len(ticket.rows))

    def _resolve(self, ticket: Ticket) -> None:
        started = time.perf_counter()
        latents = torch.stack([row.x for row in ticket.rows])
        if not torch.isfinite(latents).all():
            ticket.fail(SamplingFailed("sampling of this image gave no finite numbers"))
            return
        pixels = self._decode(latents)
        ticket.decode_s = time.perf_counter() - started
        ticket.resolve(list(pixels))
