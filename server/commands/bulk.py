"""bulk: a file of requests → images, a manifest and what failed, from where the last run stopped.

Exit status: 0 where every row has its images, 1 where some have none, 2 where nothing was started,
128 + n after signal n. Run again, it goes on.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import uvloop

from server import logs
from server.bulk.journal import FOLDER, Finished, Journal, JournalTaken, open_journal
from server.bulk.manifest import Outcome, write_outcome
from server.bulk.plan import Plan, RequestsInvalid, list_left, make_plan
from server.bulk.progress import Progress
from server.bulk.ray_engine import Actors, RayMissing, run_on_actors
from server.bulk.record import IMAGES, Record
from server.bulk.runner import EngineBroken, Keep, Runner
from server.bulk.shard import Shard
from server.bulk.store import Store, StoreFailed
from server.bulk.tables import TableUnreadable
from server.commands.serve import Build, Built
from server.commands.signals import Interrupted, cancel_at_signal, raising_signals
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, EngineSlice
from server.doors.request_file import RequestFile, RequestRow, explain
from server.metrics import Metrics

_RUN = re.compile(r"run(-\d+-of-\d+)?\.json")
_DONE, _SOME_FAILED, _NOT_STARTED, _SIGNALLED = 0, 1, 2, 128
_NOT_STARTABLE = (JournalTaken, RayMissing, RequestsInvalid, StartFailed, TableUnreadable)
_READ_TIMEOUT_S = 30.0

MAX_ENGINES = 4
"""Side by side in one process; each has models of its own."""


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """What the command line asked for; files are paths or fsspec URLs. `num_in_flight` of 0: twice
    what the largest forwards of all devices hold."""

    requests: str
    out: str
    shard: Shard = Shard()
    engine: Literal["local", "ray"] = "local"
    num_actors: int = 1
    num_in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A run that was found sound, with its journal open."""

    options: BulkOptions
    store: Store
    journal: Journal
    plan: Plan
    tasks: Callable[[], Iterator[RequestRow]]


def bulk(configuration: Configuration, build: Build, options: BulkOptions) -> int:
    """The exit status."""
    logs.configure_logs(configuration.logging.format, configuration.logging.level)
    with raising_signals():
        try:
            job = _prepare(options)
        except (*_NOT_STARTABLE, StoreFailed) as error:
            return _refuse(str(error))
        except Interrupted as interrupted:
            _refuse(f"stopped by {interrupted}")
            return _SIGNALLED + interrupted.number
        return _run(job, adapt(configuration, options.engine), build)


def _prepare(options: BulkOptions) -> Job:
    """All that can be wrong with the input is found here, before a model is loaded."""
    store = Store(options.out)
    store.make_folders("", IMAGES, FOLDER)
    journal = open_journal(store, options.shard)
    try:
        finished = Finished(store)
        file = RequestFile(options.requests, _find_day(store, options.shard))
        plan = make_plan(file.read, finished, options.shard)
        tasks = partial(list_left, file.read, finished, options.shard)
        return Job(options, store, journal, plan, tasks)
    except BaseException:
        journal.close()
        raise


def _find_day(store: Store, shard: Shard) -> date:
    """Of the first run: a season does not change halfway through. Raises StoreFailed."""
    days = [_read_day(store, path) for path in store.list_files("") if _RUN.fullmatch(path)]
    if not days:
        days = [datetime.now(UTC).date()]
        text = json.dumps({"day": days[0].isoformat()})
        store.write(f"run{shard.suffix}.json", text.encode() + b"\n")
    return min(days)


def _read_day(store: Store, path: str) -> date:
    try:
        return date.fromisoformat(json.loads(store.read(path) or b"")["day"])
    except (ValueError, KeyError, TypeError) as error:
        fault = "does not tell the day of a run: where none has made anything yet, remove it"
        raise StoreFailed(f"{store.locate(path)} {fault}") from error


def adapt(configuration: Configuration, engine: Literal["local", "ray"]) -> Configuration:
    """What a run makes of settings that nobody gave.

    Nobody waits for these images, so that features may take their time, and forwards are full
    anyway, so that all may be of one size: the bytes are then the same whatever shares them. Actors
    may find themselves in another folder, and several on one machine: each takes the cores it is
    given.
    """
    features, settings = configuration.features, configuration.engine
    is_strict = settings.strict or "strict" not in settings.model_fields_set
    num_threads = settings.threads or int(engine == "ray")
    settings = settings.model_copy(update={"strict": is_strict, "threads": num_threads})
    if engine == "local" and not configuration.model.specifications:
        settings = _spread(settings)
    if is_strict and "buckets" not in settings.model_fields_set:
        settings = settings.model_copy(update={"buckets": (_choose_bucket(settings),)})
    patient = features.model_copy(
        update={
            "timeout_s": max(features.timeout_s, _READ_TIMEOUT_S),
            "home": features.home.absolute(),
        }
    )
    return configuration.model_copy(update={"engine": settings, "features": patient})


def _spread(settings: EngineSlice) -> EngineSlice:
    """Engines side by side on a CPU of which nothing was said, where models are small: threads of
    one forward wait for each other whenever one of them makes room for a picture's pixels."""
    from server.commands.workshop import choose_device  # brings torch

    if settings.devices or settings.threads or choose_device(settings.device) != "cpu":
        return settings
    num_engines = min(len(os.sched_getaffinity(0)), MAX_ENGINES)
    return settings.model_copy(update={"devices": ("cpu",) * num_engines})


def _choose_bucket(settings: EngineSlice) -> int:
    """The largest by default, or the next that the threads of a CPU share out by halves alone: with
    other sizes a row's bytes may depend on its place."""
    cores = settings.threads or len(os.sched_getaffinity(0))
    num_threads = max(1, cores // max(1, len(settings.devices)))
    odd = num_threads // (num_threads & -num_threads)
    return -(-settings.buckets[-1] // odd) * odd


def _run(job: Job, configuration: Configuration, build: Build) -> int:
    progress = Progress(job.plan.num_rows, job.plan.num_finished)
    try:
        with closing(job.journal), progress:
            if job.plan.num_left:
                _make(job, configuration, build, progress)
        outcome = write_outcome(job.store, job.options.shard)
    except Interrupted as interrupted:
        _tell_stop(job, progress, f"stopped by {interrupted}")
        return _SIGNALLED + interrupted.number
    except (*_NOT_STARTABLE, EngineBroken, StoreFailed) as error:
        if not (progress.num_made or isinstance(error, StoreFailed)):
            return _refuse(str(error))  # actors that can't be built, for instance
        _tell_stop(job, progress, str(error))
        return _SOME_FAILED
    print(_summarize(job, outcome, progress))
    return _SOME_FAILED if outcome.num_failed else _DONE


def _make(job: Job, configuration: Configuration, build: Build, progress: Progress) -> None:
    options, engine = job.options, configuration.engine

    def keep(records: Sequence[Record]) -> None:
        job.journal.append(records)
        progress.note(records)

    devices = engine.devices or (engine.device,)
    num_in_flight = options.num_in_flight or 2 * engine.buckets[-1] * len(devices)
    if options.engine == "local":
        work = _make_here(job, _building(build, configuration), progress, keep, num_in_flight)
        uvloop.run(cancel_at_signal(work))
        return
    is_auto = devices == ("auto",)
    actors = Actors(
        partial(_building, build, configuration),
        explain,
        options.num_actors,
        num_cpus=engine.threads,
        num_gpus=None if is_auto else sum(device.startswith("cuda") for device in devices),
        num_in_flight=num_in_flight,
    )
    run_on_actors(actors, job.store, job.tasks, job.plan.num_left, keep)


async def _make_here(
    job: Job,
    building: AbstractAsyncContextManager[Built],
    progress: Progress,
    keep: Keep,
    num_in_flight: int,
) -> None:
    async with building as built:
        progress.begin()
        job.plan.check_names(built.models, built.brand_kits)
        runner = Runner(
            built.pipeline,
            job.store,
            explain,
            num_in_flight=num_in_flight,
            is_healthy=built.is_healthy,
        )
        await runner.run(job.tasks(), keep)


@asynccontextmanager
async def _building(build: Build, configuration: Configuration) -> AsyncIterator[Built]:
    metrics = Metrics()
    try:
        async with build(configuration, metrics) as built:
            yield built
    finally:
        metrics.close()


def _summarize(job: Job, outcome: Outcome, progress: Progress) -> str:
    told = [
        f"{outcome.num_finished} of {job.plan.num_rows} rows are done, "
        f"{job.plan.num_finished} of them before; {outcome.num_images} images"
    ]
    if job.plan.num_left:
        told.append(f"{progress.num_images} of them in {progress.seconds:.1f} s")
    if outcome.num_originals:
        told.append(f"{outcome.num_originals} show the packshot, since no try was good enough")
    if outcome.num_failed:
        told.append(f"{outcome.num_failed} failed: {job.store.locate(outcome.failures)}")
    return "bulk: " + "; ".join([*told, job.store.locate(outcome.manifest)])


def _tell_stop(job: Job, progress: Progress, why: str) -> None:
    done = job.plan.num_finished + progress.num_finished
    text = f"{done} of {job.plan.num_rows} rows are done; the same command goes on from there"
    print(f"bulk: {why}; {text}", file=sys.stderr)


def _refuse(why: str) -> int:
    print(f"bulk: nothing was started:\n{why}", file=sys.stderr)
    return _NOT_STARTED


def make_absolute(url: str) -> str:
    return url if "://" in url else str(Path(url).absolute())
