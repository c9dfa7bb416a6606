"""serve: open the ports, build what answers, let requests in, and go out gracefully."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import uvloop

from server import logs, tracing
from server.access.access import Access
from server.access.exposure import check_exposure
from server.commands.batches import open_batches
from server.commands.experiments import check_targeting, open_experiments, read_programme
from server.commands.start_failed import StartFailed
from server.configuration import Configuration
from server.core import QUALITY, ModelCard
from server.doors import (
    batches,
    enhancement,
    experiments,
    images,
    models,
    privacy,
    provenance,
)
from server.doors.answers import Generator
from server.doors.enhancement import Enhancement
from server.doors.listening import AdminDoor, Door
from server.doors.provenance import Verification
from server.metrics import Metrics
from server.models import Models
from server.pipeline import Trials
from server.sampling.revival import EngineLost

_HEALTH_POLL_S = 0.5

log = logs.logger(__name__)


class Memory(Protocol):
    """Images that a server keeps; see server.pipeline.Pipeline."""

    def name_makers(self, name: Callable[[str], str]) -> None: ...

    async def forget(self, maker: str, *, is_shared: bool = True) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class Built:
    """What answers requests, warm."""

    pipeline: Generator
    model: ModelCard
    is_healthy: Callable[[], bool]
    models: Collection[str] = (QUALITY,)
    """Names by which requests choose one; a view, where they change."""
    registry: Models | None = None
    """What the admin port shows and changes; without one it answers nobody."""
    count_rows: Callable[[], int] | None = None
    """How many rows the engine has, for batches to stay behind; without it there are none."""
    brand_kits: Collection[str] = ()
    enhancer: Enhancement | None = None
    """Who repairs packshots; without one nobody does."""
    join: Callable[[Trials], None] | None = None
    """Tells what answers who assigns arms; without it there are no experiments."""
    revive: Callable[[], Awaitable[None]] | None = None
    """Starts again what broke. Raises EngineLost where that does not help."""
    verifier: Verification | None = None
    """Who reads where images come from; without one nobody does."""
    memory: Memory | None = None
    """What is kept of images; with it, and with experiments, shoppers are erased."""


Build = Callable[[Configuration, Metrics], AbstractAsyncContextManager[Built]]
"""Builds what answers; leaving the context takes it down. Only engine and features are heavy."""


def serve(configuration: Configuration, build: Build, port_file: Path | None = None) -> int:
    """Serve until a signal; the exit status."""
    logs.configure_logs(configuration.logging.format, configuration.logging.level)
    try:
        uvloop.run(run_server(configuration, build, port_file))
    # A port that is taken, a folder that is not there, a device that is gone.
    except (OSError, StartFailed, EngineLost) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


async def run_server(
    configuration: Configuration, build: Build, port_file: Path | None = None
) -> None:
    """From open ports to closed ones. Raises OSError where a port can't be had, and StartFailed."""
    stopping = Stopping()
    configure_tracing(configuration)
    programme = read_programme(configuration.experiments)
    check_targeting(programme, configuration)
    doors = images, batches, enhancement, experiments, provenance, privacy, models
    metrics = Metrics([method for door in doors for method in door.METHODS])
    access = open_access(configuration, metrics)
    door = Door(configuration.server, metrics, access)
    admin = AdminDoor(configuration.server, metrics, access)
    try:
        access.start()
        await _open_ports(configuration, metrics, door, admin, port_file)
        async with build(configuration, metrics) as built, AsyncExitStack() as stack:
            jobs = experimenting = None
            if (count := built.count_rows) is not None:
                jobs = await stack.enter_async_context(
                    open_batches(configuration, built.pipeline, count, built.is_healthy, metrics)
                )
            if built.join is not None:  # before anybody is answered who should be in a test
                opening = open_experiments(configuration, programme, built.models, metrics)
                experimenting = await stack.enter_async_context(opening)
                built.join(experimenting.trials)
            desk = None
            if experimenting is not None and (memory := built.memory) is not None:
                from server.commands.privacy import open_privacy  # and Feast, which takes long

                erasing = open_privacy(configuration, door, memory, experimenting)
                desk = await stack.enter_async_context(erasing)
            stopping.is_building = False
            metrics.model(built.model.name, built.model.digest)
            await door.open(built.pipeline, built.models, built.brand_kits)
            if jobs is not None:
                door.open_batches(jobs, built.models, built.brand_kits)
            if built.enhancer is not None:
                door.open_enhancement(built.enhancer)
            if built.verifier is not None:
                door.open_provenance(built.verifier)
            if experimenting is not None:
                door.open_experiments(experimenting.laboratory)
            if desk is not None:
                door.open_privacy(desk)
            if built.registry is not None:
                await admin.open(built.registry)
            while not await stopping.wait(_HEALTH_POLL_S):
                await door.report(built.is_healthy())
                num_rows = 0 if built.count_rows is None else built.count_rows()
                metrics.inside(len(asyncio.all_tasks()), num_rows)
                if built.revive is not None:
                    await built.revive()
            await admin.shut()
            await door.drain(configuration.drain)
            await door.stop()
            await admin.stop()
    except asyncio.CancelledError:
        if not stopping.is_asked:
            raise
    finally:
        await door.stop()
        await admin.stop()
        await access.close()
        metrics.close()
        await asyncio.to_thread(tracing.close)
        log.info("stopped")


def open_access(configuration: Configuration, metrics: Metrics) -> Access:
    """Raises StartFailed."""
    try:
        check_exposure(configuration)
        return Access.open(configuration.access, metrics)
    except ValueError as error:  # each says which file or setting is wrong
        raise StartFailed(str(error)) from error


def configure_tracing(configuration: Configuration) -> None:
    """Raises StartFailed."""
    try:
        tracing.configure(configuration.tracing)
    except tracing.TracingUnusable as error:
        raise StartFailed(str(error)) from error


class Stopping:
    """The first signal asks to stop, or breaks off building; a second one ends the process."""

    def __init__(self) -> None:
        self.is_building = True
        self._asked = asyncio.Event()
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._ask, number)

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()

    async def wait(self, timeout_s: float) -> bool:
        """Whether a signal has come, after at most `timeout_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), timeout_s)
        return self.is_asked

    def _ask(self, number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        for each in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        self._asked.set()
        if self.is_building and self._task is not None:
            self._task.cancel()


async def _open_ports(
    configuration: Configuration,
    metrics: Metrics,
    door: Door,
    admin: AdminDoor,
    port_file: Path | None,
) -> None:
    settings = configuration.server
    ports = {"grpc": await door.start(), "admin": await admin.start()}
    ports["health"] = await door.start_health()
    try:
        ports["metrics"] = metrics.serve(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        address = f"{settings.metrics_host}:{settings.metrics_port}"
        raise OSError(f"{address}: can't listen there ({error.strerror})") from error
    log.info("listening", host=settings.host, **ports)
    if port_file is not None:
        unfinished = port_file.with_name(f"{port_file.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(ports), "utf-8")
        unfinished.replace(port_file)
