"""Replicas that serve the same models: to whoever submits rows, one engine.

An order whose replica dies goes to another one. Rows bring their seeds, so the image is the same;
nobody but the log hears of it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from server import logs
from server.errors import DeadlineExceeded, Overloaded, SamplingFailed, Unavailable
from server.fleet.orders import Order, Refused, Sampled, Step, pack_rows, unpack
from server.fleet.transport import ReplicaLost, Transport
from server.sampling.admission import PRUDENCE, Demand, Forecast
from server.sampling.engine import EngineLimits
from server.sampling.observer import EngineObserver, Silence
from server.sampling.pace import Pace
from server.sampling.row import RowRequest, Ticket, list_demands

MAX_TRIES = 4
"""Replicas that an order is given to, one after the other dying under it."""

PAUSE_S = 0.1
"""Times the tries before: at first the next replica is asked at once."""

WATCH_S = 1.0
UNDER_WAY = 0.5
"""Share of its work that an order has before it, on the average: how far it is, only its replica
knows."""

log = logs.logger(__name__)


@dataclass(eq=False)
class RemoteTicket(Ticket):
    """Of rows that walk elsewhere."""

    requests: Sequence[RowRequest] = ()
    carrying: asyncio.Task[None] | None = None
    told: Sampled | None = None
    last_step: int = 0

    @property
    def num_rows(self) -> int:
        return len(self.requests)

    @property
    def is_background(self) -> bool:
        return self.requests[0].is_background

    @property
    def num_forward_rows(self) -> int:
        return self.told.num_forward_rows if self.told else 0

    @property
    def num_steps_shared(self) -> int:
        return self.told.num_steps_shared if self.told else 0

    def release(self) -> None:
        """The replica frees what is unfinished. Callable from any thread."""
        super().release()
        if self.carrying is not None and not self.carrying.done():
            self.loop.call_soon_threadsafe(self.carrying.cancel)

    def hear(self, step: Step) -> None:
        """Steps that are done again, by another replica, are not told again."""
        if self.on_step is not None and step.number > self.last_step and not self.is_released:
            self.last_step = step.number
            self.on_step(step.number, unpack(step.guess, torch.device("cpu")))


class PoolPace(Pace):
    """As fast in each tick as one replica, with the rate of all of them."""

    num_replicas = 1

    def rate(self, key: object) -> float:
        return self.num_replicas * super().rate(key)  # type: ignore[arg-type]


class Pool:
    """Belongs to one event loop, but for `release` and what only reads."""

    def __init__(
        self,
        name: str,
        shapes: Mapping[str, tuple[int, ...]],
        transport: Transport,
        limits: EngineLimits | None = None,
        observer: EngineObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`shapes` are those of the models' latents, by the names of models that rows are for."""
        self.name, self.shapes = name, dict(shapes)
        self.limits = limits or EngineLimits()
        self.observer = observer or Silence()
        self.pace = PoolPace(self.limits.buckets)
        self._transport, self._clock = transport, clock
        self._tickets: dict[RemoteTicket, None] = {}
        self._watching: asyncio.Task[None] | None = None
        self._forgetting: set[asyncio.Task[None]] = set()
        self._num_replicas, self._is_closing = 0, False
        self._seen_s = clock()

    async def open(self) -> None:
        """From here on it takes rows, and knows how many replicas there are."""
        await self._look()
        self._watching = asyncio.create_task(self._watch())

    def close(self, timeout_s: float = 10.0) -> None:
        """Takes nothing more; `shut` ends what is open."""
        self._is_closing = True

    async def shut(self) -> None:
        """Tickets that are open fail with `Unavailable`."""
        self.close()
        tasks = [ticket.carrying for ticket in self._tickets if ticket.carrying is not None]
        if self._watching is not None:
            tasks.append(self._watching)
        for ticket in tuple(self._tickets):
            ticket.fail(stopped(self.name))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.close()

    @property
    def is_healthy(self) -> bool:
        return self._num_replicas > 0 and not self._is_closing

    @property
    def num_replicas(self) -> int:
        return self._num_replicas

    @property
    def num_rows(self) -> int:
        return sum(ticket.num_rows for ticket in self._tickets)

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        return tuple(self._tickets)

    def key_of(
        self, model: str, shape: tuple[int, ...] | None = None
    ) -> tuple[str, tuple[int, ...]]:
        return model, shape or self.shapes[model]

    def submit(
        self,
        requests: Sequence[RowRequest],
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Ticket:
        """Takes the rows of one request, all or none; called from the event loop.

        Raises `Overloaded` where there are too many, `Unavailable` where no replica is left.
        """
        if not self.is_healthy:
            raise stopped(self.name)
        if self.num_rows + len(requests) > self.limits.max_rows * self._num_replicas:
            self.observer.refused("queue_full")
            raise Overloaded(self.forecast().finish_s(self.demand(requests)))
        loop = asyncio.get_running_loop()
        ticket = RemoteTicket(loop, loop.create_future(), on_step, requests=tuple(requests))
        self._tickets[ticket] = None
        ticket.carrying = asyncio.create_task(self._carry(ticket))
        ticket.carrying.add_done_callback(lambda _: self._tickets.pop(ticket, None))
        return ticket

    def forecast(self) -> Forecast:
        """What the orders of this door leave to new ones, as if all replicas had one queue. The
        replica decides anew: it knows what others gave it."""
        demands = [
            Demand(
                each.deadline_s,
                math.ceil(UNDER_WAY * each.num_ticks_left),
                math.ceil(UNDER_WAY * each.num_forward_rows_left),
                each.key,
                each.urgency_s,
            )
            for ticket in self._tickets
            for each in self.demand(ticket.requests)
        ]
        return Forecast(self.pace, demands, self._clock(), prudence=PRUDENCE)

    def demand(self, requests: Sequence[RowRequest]) -> list[Demand]:
        return list_demands(requests, self.key_of, self._clock(), self.limits.patience_s)

    def load_s(self) -> float:
        """Seconds of work that wait, for all replicas together."""
        demands = [each for t in self._tickets for each in self.demand(t.requests)]
        return sum(
            UNDER_WAY * each.num_forward_rows_left / self.pace.rate(each.key) for each in demands
        )

    def forget_walks(self) -> int:
        """Asks every replica to give up what is kept of walks, soon; how many states nobody says:
        0. Called from the event loop."""
        task = asyncio.create_task(self._transport.forget_walks())
        self._forgetting.add(task)
        task.add_done_callback(self._forgotten)
        return 0

    def _forgotten(self, task: asyncio.Task[None]) -> None:
        self._forgetting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("walks may be kept still", pool=self.name, exc_info=error)

    async def _carry(self, ticket: RemoteTicket) -> None:
        """One order, to as many replicas as it takes. Ends with the ticket resolved or failed."""
        try:
            outcome = await self._place(ticket)
        except (DeadlineExceeded, Unavailable) as error:
            ticket.fail(error)
            return
        except Exception as error:  # whatever a replica raises: nobody may wait for ever
            log.error("sampling failed", pool=self.name, exc_info=error)
            ticket.fail(SamplingFailed("sampling of this image failed"))
            return
        if isinstance(outcome, Refused):
            refusal = outcome.as_error()
            if isinstance(refusal, Overloaded | DeadlineExceeded):
                self.observer.refused("deadline")
            ticket.fail(refusal)
            return
        ticket.told = outcome
        ticket.queue_s, ticket.decode_s = outcome.queue_s, outcome.decode_s
        ticket.sample_s = outcome.sample_s
        self.observer.queue_seconds(outcome.queue_s)
        ticket.resolve(list(outcome.pixels))

    async def _place(self, ticket: RemoteTicket) -> Sampled | Refused:
        """Raises DeadlineExceeded, and Unavailable where one replica after the other died."""
        first = ticket.requests[0]
        payload, affinity = pack_rows(ticket.requests), first.walk[0].key
        hear = None if ticket.on_step is None else ticket.hear
        for number in range(MAX_TRIES):
            left_s = None if first.deadline_s is None else first.deadline_s - self._clock()
            order = Order(affinity, payload, left_s)
            try:
                async with asyncio.timeout(left_s):
                    return await self._transport.sample(order, hear)
            except TimeoutError:
                raise DeadlineExceeded("the deadline passed while sampling") from None
            except ReplicaLost as lost:
                log.warning("replica lost", pool=self.name, attempt=number + 1, reason=str(lost))
                await asyncio.sleep(number * PAUSE_S)
        raise stopped(self.name)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self._look()
            except Exception as error:  # whatever a cluster says: the next look tries again
                log.warning("can't look at the replicas", pool=self.name, exc_info=error)

    async def _look(self) -> None:
        self._num_replicas = await self._transport.count()
        self.pace.num_replicas = max(1, self._num_replicas)
        if not self._num_replicas:
            self._despair()
            return
        self._seen_s = self._clock()
        try:
            found = await self._transport.measure()
        except ReplicaLost:
            return
        for key, ticks_s in found.ticks_s:
            for bucket, seconds in ticks_s.items():
                self.pace.record(key, bucket, seconds)

    def _despair(self) -> None:
        """Who has no deadline does not wait for ever for a replica."""
        if self._clock() - self._seen_s > self.limits.patience_s:
            for ticket in self.tickets:
                ticket.fail(stopped(self.name))
                ticket.release()


def stopped(name: str) -> Unavailable:
    return Unavailable(f"no replica of {name} is there", "REPLICAS_UNAVAILABLE")
