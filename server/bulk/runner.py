"""Many requests at once through the pipeline, and their images into the store."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol

from features.records import FeaturesUnavailable
from server import logs
from server.bulk.record import Failure, Record, Task, describe_image, name_image
from server.bulk.store import Store
from server.core import ImageRequest, ImageResult, Reason
from server.errors import Overloaded, Unavailable

Explain = Callable[[Exception], Failure]
"""What a caller may know of an error, and logs what no caller may."""

Keep = Callable[[Sequence[Record]], None]
"""Makes records last; called in a thread, one call after the other. Raises StoreFailed."""

NUM_IN_FLIGHT = 32
_CHUNK = 64  # tasks that are drawn from a file at once
_PATIENCE_S = 300.0
_OUTAGE_S = _MOMENT_S = 5.0
_LONGEST_WAIT_S = 5.0

log = logs.logger(__name__)


class EngineBroken(RuntimeError):
    """What makes images is gone: the run can't go on."""


class Generator(Protocol):
    """What stands behind it; cancelling the awaiting task frees what it holds."""

    async def generate(self, request: ImageRequest) -> ImageResult: ...


class Runner:
    """An image is the same whatever runs beside it: nothing of a request depends on another.

    `num_in_flight` requests are under way at once, enough to fill the engine's forwards. For one
    request a full engine is waited for up to `patience_s`, and features or a model that are away up
    to `outage_s`. Nobody waits for a bulk image: where a shopper's features can't be read that is a
    failure, not a generic image.
    """

    def __init__(
        self,
        pipeline: Generator,
        store: Store,
        explain: Explain,
        *,
        num_in_flight: int = NUM_IN_FLIGHT,
        patience_s: float = _PATIENCE_S,
        outage_s: float = _OUTAGE_S,
        is_healthy: Callable[[], bool] = lambda: True,
    ) -> None:
        self._pipeline, self._store, self._explain = pipeline, store, explain
        self._num_in_flight, self._is_healthy = num_in_flight, is_healthy
        self._patience_s, self._outage_s = patience_s, outage_s

    async def run(self, tasks: Iterable[Task], keep: Keep) -> None:
        """Makes all of them, in any order, and hands `keep` what has ended.

        Cancelled, it drops what is under way and keeps what was written. Raises StoreFailed and
        EngineBroken, after which nothing more is made.
        """
        commit = GroupCommit(keep)
        keeping = asyncio.create_task(commit.run())
        room = asyncio.Semaphore(self._num_in_flight)
        try:
            async with asyncio.TaskGroup() as group:
                async for task in _draw(tasks):
                    await room.acquire()
                    made = group.create_task(self._finish(task, commit))
                    made.add_done_callback(lambda _: room.release())
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            commit.close()
            await keeping

    async def make(self, task: Task) -> Record:
        """One request, its images in the store. Raises StoreFailed and EngineBroken."""
        try:
            request = await asyncio.to_thread(task.open)
            logs.bind_request(task.name, request.user_id)
            result = await self._generate(request)
        except Exception as error:  # this one fails, and the others go on
            if not self._is_healthy():
                raise EngineBroken("the sampling engine has stopped") from error
            return Record.fail(task, self._explain(error))
        images = await asyncio.to_thread(self._write, task.name, result)
        return Record.finish(task, request, result, images)

    async def _finish(self, task: Task, commit: GroupCommit) -> None:
        await commit.add(await self.make(task))

    async def _generate(self, request: ImageRequest) -> ImageResult:
        started_s = time.monotonic()
        num_away = 0
        while True:
            try:
                return await self._try_once(request)
            except (Overloaded, Unavailable, FeaturesUnavailable) as error:
                num_away += not isinstance(error, Overloaded)
                wait_s = _choose_wait_s(error, num_away)
                give_up_s = started_s + self._find_patience_s(error)
                if time.monotonic() + wait_s > give_up_s or not self._is_healthy():
                    raise
                if num_away == 1 and not isinstance(error, Overloaded):
                    log.warning("waits", error=str(error))
            await asyncio.sleep(wait_s)

    async def _try_once(self, request: ImageRequest) -> ImageResult:
        result = await self._pipeline.generate(request)
        if result.personalization.reason is Reason.FEATURES_UNAVAILABLE:
            text = "the shopper's features can't be read now"
            raise Unavailable(text, Reason.FEATURES_UNAVAILABLE.name)
        return result

    def _find_patience_s(self, error: Exception) -> float:
        match error:
            case Overloaded():
                return self._patience_s
            case FeaturesUnavailable():
                return self._outage_s if error.is_passing else 0.0
            case Unavailable(reason="PACKSHOT_UNAVAILABLE"):
                return _MOMENT_S  # more likely its own fault than that of where it lies
        return self._outage_s

    def _write(self, name: str, result: ImageResult) -> list[dict[str, Any]]:
        is_only = len(result.images) == 1
        told = []
        for number, image in enumerate(result.images):
            path = name_image(name, None if is_only else number, image.mime_type)
            self._store.write(path, image.data)
            told.append(describe_image(path, image))
        return told


class GroupCommit:
    """Hands records over in groups: those that ended while the group before was kept."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._ended: asyncio.Queue[tuple[Record, asyncio.Future[None]] | None] = asyncio.Queue()

    async def add(self, record: Record) -> None:
        """Returns once it is kept. Raises what keeping raises, and so do all that come later."""
        kept = asyncio.get_running_loop().create_future()
        self._ended.put_nowait((record, kept))
        await kept

    def close(self) -> None:
        self._ended.put_nowait(None)

    async def run(self) -> None:
        """Until it is closed."""
        broken: Exception | None = None
        is_open = True
        while is_open:
            group = [await self._ended.get()]
            while not self._ended.empty():
                group.append(self._ended.get_nowait())
            is_open = group[-1] is not None
            entries = [entry for entry in group if entry is not None]
            if entries and broken is None:
                try:
                    await asyncio.to_thread(self._keep, [record for record, _ in entries])
                except Exception as error:
                    broken = error
            for _, kept in entries:
                if kept.done():
                    continue  # whoever waited was cancelled
                if broken is None:
                    kept.set_result(None)
                else:
                    kept.set_exception(broken)


def _choose_wait_s(error: Exception, num_away: int) -> float:
    """As a full engine says, and longer each time that something is away."""
    wait_s = error.retry_after_s if isinstance(error, Overloaded) else 3.0 ** min(num_away - 1, 9)
    return min(max(wait_s, 0.05), _LONGEST_WAIT_S)


async def _draw(tasks: Iterable[Task]) -> AsyncIterator[Task]:
    """Reading a file and its rows takes a while: beside the event loop."""
    rest = iter(tasks)
    while chunk := await asyncio.to_thread(lambda: list(itertools.islice(rest, _CHUNK))):
        for task in chunk:
            yield task


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
