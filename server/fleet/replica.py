"""An engine in a process of its own: rows come in as orders, pixels go back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import torch
from torch import Tensor

from server.errors import DeadlineExceeded, EtalageError, Overloaded
from server.fleet.orders import (
    Order,
    Outcome,
    Paces,
    Refused,
    Sampled,
    Step,
    pack,
    unpack_rows,
)
from server.sampling.engine import Engine
from server.sampling.row import RowRequest, Ticket

MIN_WAIT_S = 0.05

Open = Callable[[], Engine]
"""Loads models and warms them; called once, in the replica."""


class Replica:
    """What Ray Serve runs; it needs nothing of Ray itself."""

    def __init__(self, open_engine: Open) -> None:
        self._engine = open_engine()

    async def sample(self, order: Order) -> Outcome:
        """Cancelled where the caller has left: its rows are then freed."""
        try:
            ticket = self._submit(order)
        except EtalageError as error:
            return Refused.of(error)
        return await self._finish(ticket)

    async def follow(self, order: Order) -> AsyncIterator[Step | Outcome]:
        """The same, with each step on the way."""
        steps: asyncio.Queue[Step | None] = asyncio.Queue()

        def tell(number: int, guess: Tensor) -> None:
            steps.put_nowait(Step(number, pack(guess)))

        try:
            ticket = self._submit(order, tell)
        except EtalageError as error:
            yield Refused.of(error)
            return
        ticket.result.add_done_callback(lambda _: steps.put_nowait(None))
        try:
            while (step := await steps.get()) is not None:
                yield step
            yield await self._finish(ticket)
        finally:
            ticket.release()

    def measure(self) -> Paces:
        pace = self._engine.pace
        keys: Any = pace.keys()
        return Paces([(key, pace.measured_s(key)) for key in keys], pace.buckets)

    def forget_walks(self) -> int:
        return self._engine.forget_walks()

    def check_health(self) -> None:
        """Called by Ray Serve, which starts another replica in place of one that raises."""
        if not self._engine.is_healthy:
            raise RuntimeError("the loop of the engine ended")

    def close(self) -> None:
        self._engine.close()

    def _submit(self, order: Order, on_step: Callable[[int, Tensor], None] | None = None) -> Ticket:
        """Raises EtalageError: here, where the work is, is known whether it can be done in time."""
        deadline_s = None if order.left_s is None else time.monotonic() + order.left_s
        rows = unpack_rows(order.payload, torch.device(self._engine.device), deadline_s)
        if deadline_s is not None:
            self._admit(rows)
        return self._engine.submit(rows, on_step)

    def _admit(self, rows: list[RowRequest]) -> None:
        forecast, demands = self._engine.forecast(), self._engine.demand(rows)
        if forecast.admits(demands):
            return
        wait_s = forecast.retry_after_s(demands)
        if wait_s == float("inf"):
            raise DeadlineExceeded("the deadline is nearer than the sampling is long")
        raise Overloaded(max(wait_s, MIN_WAIT_S))

    async def _finish(self, ticket: Ticket) -> Outcome:
        try:
            pixels = await ticket.result
        except EtalageError as error:
            return Refused.of(error)
        finally:
            ticket.release()
        return Sampled(
            pixels,
            ticket.queue_s,
            ticket.sample_s,
            ticket.decode_s,
            ticket.num_forward_rows,
            ticket.num_steps_shared,
        )
