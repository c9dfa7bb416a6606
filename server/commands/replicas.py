"""serve --engine ray: what answers is here, and samples in replicas elsewhere.

The door reads, fuses, plans, composes and seals; rows go out as orders and come back as pixels. To
plan, it holds every model as well, on its CPU.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.loading import load_model
from diffusion.families.specification import ModelSpecification
from diffusion.image_model import ImageModel
from features.reader import SWITCH_INTERVAL_S
from server import logs
from server.access.calls import current_tenant
from server.commands.building import build, engine_limits, load_models
from server.commands.serve import Built
from server.commands.start_failed import StartFailed
from server.commands.workshop import (
    check_width,
    choose_device,
    describe,
    in_passing,
    warm_requests,
)
from server.configuration import Configuration, EngineSlice, ModelSlice
from server.fleet.cluster import Cluster, ClusterFailed, RayMissing, RayTransport, Recipe
from server.fleet.fleet import Fleet
from server.fleet.pool import Pool
from server.metrics import Metrics
from server.sampling.cores import take_cores
from server.sampling.engine import Engine
from server.sampling.forward import SamplingModel
from server.workshop import Workshop

BUILT_IN = "built-in"

log = logs.logger(__name__)


@asynccontextmanager
async def build_on_ray(configuration: Configuration, metrics: Metrics) -> AsyncIterator[Built]:
    """As `build`. The replicas are started while the door loads what it needs itself."""
    if configuration.engine.devices:
        raise StartFailed("engine.devices: a replica has one device, engine.device")
    elsewhere = Elsewhere(configuration, metrics)
    try:
        await asyncio.to_thread(elsewhere.cluster.start)
    except (RayMissing, ClusterFailed) as error:
        raise StartFailed(f"replicas: {error}") from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.getsignal(number))  # Ray has put its own there
    try:
        elsewhere.begin()
        async with build(configuration, metrics, elsewhere) as built:
            yield built
    finally:
        await elsewhere.close()


class Elsewhere:
    """Where rows are sampled, if not here. Belongs to one event loop."""

    def __init__(self, configuration: Configuration, metrics: Metrics) -> None:
        self._settings, self._metrics = find_settings(configuration), metrics
        self._model = configuration.model.model_copy(update={"specifications": ()})
        self._limits = engine_limits(self._settings)
        self.cluster = Cluster(configuration.replicas, self._limits)
        self._fleet: Fleet | None = None
        self._pools: dict[str, Pool] = {}
        self._first: asyncio.Task[RayTransport] | None = None

    def begin(self) -> None:
        recipe = self._write(BUILT_IN, partial(open_built_in, self._settings, self._model))
        self._first = asyncio.create_task(self.cluster.deploy(recipe))

    async def place(self, models: Sequence[ImageModel]) -> Fleet:
        """The router to replicas of what is built in, once they are warm. Raises StartFailed."""
        assert self._first is not None
        try:
            transport = await self._first
        except ClusterFailed as error:
            raise StartFailed(f"replicas: {error}") from error
        pool = await self._open(BUILT_IN, models, transport)
        self._fleet = Fleet([pool], current_tenant)
        log.info("replicas", pool=BUILT_IN, count=pool.num_replicas)
        return self._fleet

    def measure(self, model: ImageModel) -> Mapping[int, float]:
        """Seconds of a forward by bucket, as a replica measured them."""
        pool = self._pools[model.name]
        return pool.pace.measured_s(pool.key_of(model.name))

    def open_workshop(self, embedding_width: int) -> Workshop:
        """A model that is loaded gets replicas of its own: where it runs is spread by Ray."""
        loop = asyncio.get_running_loop()

        def load(specification: ModelSpecification, number: int) -> ImageModel:
            if specification.loras:
                raise CheckpointUnusable("loras: replicas do not load styles by request")
            model = in_passing(load_model, specification, "cpu")
            check_width(model, embedding_width)
            return model

        async def warm(model: ImageModel, number: int) -> Mapping[int, float]:
            specification: ModelSpecification = model.specification  # type: ignore[attr-defined]
            opened = partial(open_specified, self._settings, specification)
            recipe = self._write(specification.name, opened)
            try:
                transport = await self.cluster.deploy(recipe)
            except ClusterFailed as error:
                raise CheckpointUnusable(f"source: {error}") from error
            assert self._fleet is not None
            self._fleet.add(await self._open(specification.name, [model], transport))
            return self.measure(model)

        def close(model: ImageModel, number: int) -> None:
            if (pool := self._pools.pop(model.name, None)) is not None and self._fleet is not None:
                asyncio.run_coroutine_threadsafe(self._fleet.remove(pool), loop).result()

        return Workshop(load, warm, close, describe)

    async def close(self) -> None:
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)
        if self._fleet is not None:
            await self._fleet.close_all()
        await self.cluster.stop()

    async def _open(self, name: str, models: Sequence[ImageModel], transport: RayTransport) -> Pool:
        shapes = {model.name: model.latent_shape for model in models}
        pool = Pool(name, shapes, transport, self._limits, self._metrics.engine(f"ray:{name}"))
        await pool.open()
        self._pools |= dict.fromkeys(shapes, pool)
        return pool

    def _write(self, name: str, opened: partial[Engine]) -> Recipe:
        return Recipe(name, opened, self._settings.threads)


def find_settings(configuration: Configuration) -> EngineSlice:
    """Those of a replica's engine: it computes with the cores that Ray keeps for it."""
    threads = configuration.engine.threads or max(1, int(configuration.replicas.cpus))
    return configuration.engine.model_copy(update={"threads": threads})


def open_built_in(settings: EngineSlice, model: ModelSlice) -> Engine:
    """Called in a replica."""
    device = choose_device(settings.device)
    models = load_models(Configuration(engine=settings, model=model), device)
    return open_engine(settings, list(models.values()))


def open_specified(settings: EngineSlice, specification: ModelSpecification) -> Engine:
    """Called in a replica."""
    return open_engine(settings, [load_model(specification, choose_device(settings.device))])


def open_engine(settings: EngineSlice, models: Sequence[SamplingModel]) -> Engine:
    """As in the door's process, no thread keeps the loop waiting for long."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
    engine = Engine(models, engine_limits(settings))
    engine.start([request for model in models for request in warm_requests(model)])  # type: ignore[arg-type]
    take_cores(1)
    return engine
