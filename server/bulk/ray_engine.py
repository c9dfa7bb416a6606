"""The same on actors of Ray Data, each with the models loaded once. Only here is Ray imported.

One actor reads the requests, as they are needed. Others write images, and the driver keeps the
journal: a row that is tried again, after an actor died, writes the same bytes to the same place,
and is told once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from server.bulk.plan import RequestsInvalid
from server.bulk.record import Record, Task
from server.bulk.runner import EngineBroken, Explain, Generator, Keep, Runner
from server.bulk.store import Store, StoreFailed
from server.bulk.tables import TableUnreadable

_BLOCK, _RECORDS, _STOPPED = "block", "record", "stopped"
_CALLS = 2  # of an actor at once, so that its forwards stay full from one batch to the next


Tasks = Callable[[], Iterable[Task]]
"""Reads the rows to be made; goes to another process of the same machine."""


class RayMissing(RuntimeError):
    """Ray is not installed."""


class Built(Protocol):
    """What an actor builds."""

    @property
    def pipeline(self) -> Generator: ...

    @property
    def is_healthy(self) -> Callable[[], bool]: ...


@dataclass(frozen=True, slots=True)
class Actors:
    """How many, with what each, and how many rows each has under way in each of two calls;
    `num_gpus` of None: one each, if there are so many.

    `build` is called in the actor and must be found there by its name; so must `explain`.
    """

    build: Callable[[], AbstractAsyncContextManager[Built]]
    explain: Explain
    count: int = 1
    num_cpus: float = 1
    num_gpus: float | None = None
    num_in_flight: int = 32


def run_on_actors(actors: Actors, store: Store, tasks: Tasks, num_tasks: int, keep: Keep) -> None:
    """Ends when all tasks have, and are kept. Raises RayMissing, RequestsInvalid, TableUnreadable,
    StoreFailed and EngineBroken."""
    with _running_ray(actors) as ray:
        stopped = _run(ray, actors, store, tasks, num_tasks, keep)
    if stopped is not None:
        raise stopped


def _run(
    ray: Any, actors: Actors, store: Store, tasks: Tasks, num_tasks: int, keep: Keep
) -> Exception | None:
    """Why it can't go on, if so. Told, not raised: on the way out of here Ray takes down what runs,
    which an exception would hold on to until Ray itself is gone."""
    feeder = _start_feeder(ray, tasks, actors.num_in_flight)
    num_blocks = -(-num_tasks // actors.num_in_flight)
    blocks = [ray.put(pa.table({_BLOCK: [number]})) for number in range(num_blocks)]
    strategy = ray.data.ActorPoolStrategy(
        size=actors.count,
        max_tasks_in_flight_per_actor=2 * _CALLS,
        max_concurrent_calls_per_actor=_CALLS,
        enable_true_multi_threading=True,
    )
    made = ray.data.from_arrow_refs(blocks).map_batches(
        _Maker,
        fn_constructor_args=(actors, store, feeder),
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=strategy,
        num_cpus=actors.num_cpus,
        num_gpus=_count_gpus(actors, ray.cluster_resources()) or None,
    )
    # Batches would come by a thread that asks Ray on when Ray is gone, and takes the process along.
    for bundle in made.iter_internal_ref_bundles():
        for entry in bundle.blocks:
            told = ray.get(entry.ref).to_pylist()
            try:
                keep([Record.from_line(row[_RECORDS]) for row in told if row[_RECORDS]])
            except StoreFailed as failed:
                return StoreFailed(str(failed))
            for row in told:
                if row[_STOPPED]:
                    stopped: Exception = pickle.loads(row[_STOPPED])
                    return stopped
                if row[_RECORDS] is None:  # the last of its block
                    feeder.drop.remote(row[_BLOCK])
    return None


def _start_feeder(ray: Any, tasks: Tasks, num_rows: int) -> Any:
    """Beside the driver, where the file is that was looked through."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Feeder).remote(tasks, num_rows)


@contextmanager
def _running_ray(actors: Actors) -> Iterator[Any]:
    """A cluster that is there already (RAY_ADDRESS), or one of this machine for as long."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RayMissing("Ray is not installed: pip install 'etalage-server[ray]'") from error
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        cpus = max(os.cpu_count() or 1, int(actors.count * actors.num_cpus))
        settings |= {"num_cpus": cpus, "include_dashboard": False}
    on_terminate = signal.getsignal(signal.SIGTERM)
    ray.init(**settings)
    signal.signal(signal.SIGTERM, on_terminate)  # Ray has put its own there
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        with suppress(Exception):
            ray.shutdown()


def _count_gpus(actors: Actors, resources: Mapping[str, float]) -> float:
    if actors.num_gpus is not None:
        return actors.num_gpus
    return float(resources.get("GPU", 0) >= actors.count)


class Feeder:
    """An actor that reads requests, `num_rows` to a block, no further than somebody has asked for.

    A block stays until it is dropped: an actor that died may have had it.
    """

    def __init__(self, tasks: Tasks, num_rows: int) -> None:
        self._tasks, self._num_rows = iter(tasks()), num_rows
        self._blocks: list[list[bytes]] = []

    def take(self, number: int) -> list[bytes]:
        """Tasks as bytes; none of a block that was dropped. Raises what reading raises."""
        while len(self._blocks) <= number:
            block = itertools.islice(self._tasks, self._num_rows)
            self._blocks.append([pickle.dumps(task) for task in block])
        return self._blocks[number]

    def drop(self, number: int) -> None:
        self._blocks[number] = []


class _Maker:
    """The actor's own: an event loop in a thread of its own, and in it what answers, built once."""

    def __init__(self, actors: Actors, store: Store, feeder: Any) -> None:
        self._actors, self._store, self._feeder = actors, store, feeder
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="bulk", daemon=True).start()
        self._runner = self._submit(self._open())

    def __call__(self, batch: pa.Table) -> pa.Table:
        import ray

        (number,) = batch.column(_BLOCK).to_pylist()
        records: list[Record] = []
        stopped: bytes | None = None
        try:
            tasks = map(pickle.loads, ray.get(self._feeder.take.remote(number)))
            self._submit(self._run(list(tasks), records)).result()
        except Exception as error:  # Ray would make a text of it, and try again
            stopped = pickle.dumps(_simplify(error))
        lines = [record.to_line() for record in records]
        columns: Mapping[str, Any] = {
            _BLOCK: [number] * (len(lines) + 1),
            _RECORDS: pa.array([*lines, None], pa.binary()),
            _STOPPED: pa.array([*(None for _ in lines), stopped], pa.binary()),
        }
        return pa.table(columns)

    def _submit(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _open(self) -> Runner:
        self._built = self._actors.build()  # taken down with the process
        built = await self._built.__aenter__()
        return Runner(
            built.pipeline,
            self._store,
            self._actors.explain,
            num_in_flight=self._actors.num_in_flight,
            is_healthy=built.is_healthy,
        )

    async def _run(self, tasks: list[Task], records: list[Record]) -> None:
        runner: Runner = await asyncio.wrap_future(self._runner)
        await runner.run(tasks, records.extend)


def _simplify(error: Exception) -> Exception:
    """What the driver can load and tell, whatever it was caused by."""
    cause = getattr(error, "cause", None) or error  # what another actor raised, Ray wraps
    kinds = StoreFailed, RequestsInvalid, TableUnreadable
    kind = next((each for each in kinds if isinstance(cause, each)), EngineBroken)
    return kind(str(cause) or type(cause).__name__)
