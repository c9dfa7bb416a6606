"""All places that hold something of a shopper, asked to let go of it.

First those whose rows may be read by the next request, at once and side by side; then those that
take long, in the background. A place that fails keeps none of the others, and is asked again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from server import logs
from server.privacy.proof import Case, Proof, Visit, prove
from server.privacy.register import Register

PATIENCE_S = 15.0
"""How long a quick place may take before it counts as down."""

log = logs.logger(__name__)

Erase = Callable[[Case], Awaitable[Mapping[str, int]]]


@dataclass(frozen=True, slots=True)
class Place:
    """`erase` gives how many rows or entries went, by store. Again is harmless. It is not asked
    before all is gone from the place that it comes `after`."""

    name: str
    erase: Erase
    is_slow: bool = False
    note: str = ""
    after: str = ""


@dataclass(slots=True, eq=False)
class _Run:
    task: asyncio.Task[Proof]
    quick: asyncio.Future[Proof] = field(default_factory=asyncio.Future)


class Eraser:
    """Belongs to one event loop. `on_begin` is told of an erasure before anything goes."""

    def __init__(
        self,
        register: Register,
        places: Sequence[Place],
        names: Callable[[str], tuple[str, str]],
        on_begin: Callable[[Case], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`names` gives a shopper's tombstone name and their unit in the event log."""
        self._register, self._places, self._names = register, tuple(places), names
        self._on_begin, self._clock = on_begin, clock
        self._runs: dict[int, _Run] = {}

    async def erase(
        self, user_id: str, *, is_permanent: bool = False, is_patient: bool = False
    ) -> Proof:
        """Once what the next request might read is gone or, `is_patient`, all that can be by now.

        What fails is told in the proof and tried again. Raises only where the erasure can't even be
        written down: sqlalchemy.exc.SQLAlchemyError, features.keys.KeysUnusable.
        """
        names = await asyncio.to_thread(self._names, user_id)
        case = await asyncio.to_thread(self._register.begin, user_id, *names, is_permanent)
        return await self.go_on(case, is_patient=is_patient)

    async def go_on(self, case: Case, *, is_patient: bool = True) -> Proof:
        """What of it is still to be done."""
        run = self._runs.get(case.key)
        if run is None:
            run = self._runs[case.key] = _Run(asyncio.create_task(self._work(case)))
            run.task.add_done_callback(lambda task: self._end(case.key, task))
        awaited = run.task if is_patient else run.quick
        return await asyncio.shield(awaited)

    async def close(self) -> None:
        """What is not done yet goes on in the next process."""
        tasks = [run.task for run in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, case: Case) -> Proof:
        self._on_begin(case)
        quick = [place for place in self._places if not place.is_slow]
        visits = await asyncio.gather(*(self._visit(place, case) for place in quick))
        for place, visit in zip(quick, visits, strict=True):
            case = case.visited(place.name, visit)
        slow = [place for place in self._places if place.is_slow]
        case = await self._save(case)
        run = self._runs[case.key]
        run.quick.set_result(self._prove(case))
        for place in slow:
            case = case.visited(place.name, await self._visit(place, case))
        return self._prove(await self._save(case) if slow else case)

    async def _visit(self, place: Place, case: Case) -> Visit:
        before = case.visits.get(place.name, Visit())
        if before.finished_s is not None or (place.after and not case.has_left(place.after)):
            return before
        try:
            async with asyncio.timeout(None if place.is_slow else PATIENCE_S):
                counts = await place.erase(case)
        except Exception as error:  # whatever a driver raises: the other places go on
            log.error("erasure waits for a store", place=place.name, exc_info=error)
            return Visit(error=type(error).__name__)
        return Visit(dict(counts), self._clock())

    async def _save(self, case: Case) -> Case:
        is_done = all(case.has_left(place.name) for place in self._places)
        return await asyncio.to_thread(self._register.save, case, is_done)

    def _prove(self, case: Case) -> Proof:
        return prove(case, {place.name: place.note for place in self._places})

    def _end(self, key: int, task: asyncio.Task[Proof]) -> None:
        run = self._runs.pop(key)
        if task.cancelled():
            run.quick.cancel()
        elif (error := task.exception()) is not None and not run.quick.done():
            run.quick.set_exception(error)
            run.quick.exception()  # nobody may be waiting for it
