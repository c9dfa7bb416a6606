"""Builds what answers requests from the configuration: model, features, engine, pipeline."""

from __future__ import annotations

import asyncio
import copy
import gc
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError

from diffusion.checkpoint import DEFAULT_CHECKPOINT, FAST_CHECKPOINT, CheckpointUnusable
from diffusion.denoiser import FlowDenoiser
from diffusion.encoders import Encoders
from diffusion.families.specification import SpecificationInvalid
from diffusion.image_model import Preset
from diffusion.model import ProductDiffusion
from diffusion.noise import draw_noise
from diffusion.pretrained import load_pretrained
from diffusion.walks import Rules
from features.mapping import MappingInvalid
from features.prepare import prepare_world
from features.reader import FeatureReader
from features.repository import Repository
from features.store import StoreMissing
from features.vector import FingerprintMismatch
from server import logs
from server.access.calls import current_tenant
from server.breaker import Breaker
from server.commands.creatives import (
    describe_safety,
    open_cache,
    open_safety,
    read_rules,
    read_sensitive,
)
from server.commands.enhancement import check_restorer, open_enhancer, open_matting
from server.commands.feature_store import store_config
from server.commands.provenance import open_sealer, open_verifier
from server.commands.serve import Built
from server.commands.start_failed import StartFailed
from server.commands.workshop import (
    choose_device,
    describe,
    measure_steps,
    open_workshop,
    warm_request,
)
from server.configuration import (
    Configuration,
    EngineSlice,
    FeaturesSlice,
    ModelSlice,
    PrivacySlice,
)
from server.core import FAST, QUALITY, ModelCard
from server.errors import EtalageError
from server.imaging.verification import Limits
from server.metrics import Metrics
from server.models import Models
from server.pipeline import Pipeline
from server.provenance.verifying import VerifyingDesk
from server.rows import Defaults
from server.sampling.cores import take_cores, work_beside
from server.sampling.engine import Engine, EngineLimits
from server.sampling.revival import Reviver
from server.sampling.router import Router
from server.sensitivity import DiscreetReader
from server.studio import Studio

if TYPE_CHECKING:
    from server.commands.replicas import Elsewhere

NUM_WORKERS = 4  # threads for pixels: decoding packshots, composing, encoding
NUM_REPAIRERS = 2  # threads for EnhanceImage, so that creatives never wait for a large picture
MARK_S = 0.03  # for a watermark, kept back from deadlines
MAX_DTYPE_ERROR = 0.05  # of a prediction, relative to float32's

log = logs.logger(__name__)


@asynccontextmanager
async def build(
    configuration: Configuration, metrics: Metrics, elsewhere: Elsewhere | None = None
) -> AsyncIterator[Built]:
    """Yields once the model is loaded, features are there and every bucket is warm. With rows
    sampled `elsewhere`, the engine here is for repairs alone."""
    rules = read_rules(configuration.creatives, configuration.provenance, metrics)
    safety, sealer = open_safety(configuration.creatives), open_sealer(configuration, metrics)
    sensitive = read_sensitive(configuration.creatives)
    check_restorer(configuration.enhancement)
    named = name_devices(configuration.engine) if elsewhere is None else ["cpu"]
    devices = [choose_device(name) for name in named]
    take_cores(1)
    try:
        with all_cores(count_threads(configuration.engine)) as run:
            placed = [await run(load_models, configuration, device) for device in devices]
            encoders = placed[0][QUALITY].encoders
            matting = await run(open_matting, configuration.enhancement, devices[0])
            reader = await run(
                open_features, configuration.features, encoders, metrics, configuration.privacy
            )
    except (CheckpointUnusable, FingerprintMismatch, MappingInvalid, StoreMissing) as error:
        raise StartFailed(str(error)) from error
    limits = engine_limits(configuration.engine, len(devices))
    engines = [
        Engine(list(each.values()), limits, metrics.engine(str(each[QUALITY].device)))
        for each in placed
    ]
    for engine, each in zip(engines, placed, strict=True):
        engine.pace.load(name_pace_file(configuration, each[QUALITY]))
        requests = [warm_request(model) for model in each.values() if elsewhere is None]
        try:
            await asyncio.to_thread(engine.start, requests)
        except (ValueError, torch.OutOfMemoryError) as error:  # strict mode, or too large a bucket
            raise StartFailed(f"engine: {error}") from error
    here = Router(engines, find_tenant=current_tenant)
    router = here if elsewhere is None else await elsewhere.place(list(placed[0].values()))
    gc.collect()
    gc.freeze()  # what is built in lives as long as the process: no collection walks it again
    models = adopt_models(configuration, placed, engines, devices, metrics, elsewhere)
    defaults = Defaults(
        min_steps=configuration.model.min_steps,
        strength=configuration.model.strength,
        max_reuse_error=configuration.engine.max_reuse_error,
        max_tries=configuration.creatives.max_tries,
        limits=Limits(**configuration.verification.model_dump()),
        safety=describe_safety(configuration.creatives),
        seal=sealer.kind,
        read_timeout_s=configuration.features.timeout_s,
    )
    if sealer.watermark is not None:
        defaults = replace(defaults, finish_s=defaults.finish_s + MARK_S)
    with (
        ThreadPoolExecutor(NUM_WORKERS, "pixels", work_beside) as workers,
        ThreadPoolExecutor(NUM_REPAIRERS, "repairs", work_beside) as repairers,
    ):
        studio = Studio(router, workers, defaults, metrics, safety)
        cache = open_cache(configuration.image_cache, workers, metrics, metrics)
        pipeline = Pipeline(
            DiscreetReader(reader, sensitive, metrics),
            models,
            encoders,
            rules,
            studio,
            cache,
            workers,
            defaults,
            matting.find_alpha,
            sealer,
        )
        enhancer, restoring = open_enhancer(
            configuration.enhancement,
            engines,
            devices,
            reader,
            matting,
            repairers,
            defaults.read_timeout_s,
            metrics,
            sealer,
        )
        try:
            await load_specified(models, configuration.model)
            default = placed[0][QUALITY]
            card = ModelCard(default.name, default.digest)
            yield Built(
                pipeline,
                card,
                lambda: router.is_healthy,
                models.names(),
                models,
                lambda: router.num_rows,
                tuple(rules.kits),
                enhancer,
                pipeline.join,
                Reviver(engines, metrics.restarted).look,
                VerifyingDesk(open_verifier(configuration), repairers),
                pipeline,
            )
        finally:
            await restoring.close()
            await cache.close()
            await models.close()
            await asyncio.to_thread(here.close)
            for engine, each in zip(engines, placed, strict=True):
                engine.pace.save(name_pace_file(configuration, each[QUALITY]))
            await reader.close()


@contextmanager
def all_cores(num_threads: int) -> Iterator[Callable[..., Awaitable[Any]]]:
    """Runs work before serving in a thread with all the cores, which is gone afterwards."""
    with ThreadPoolExecutor(1, "build", take_cores, (num_threads,)) as executor:
        yield partial(asyncio.get_running_loop().run_in_executor, executor)


def name_pace_file(configuration: Configuration, model: ProductDiffusion) -> Path:
    """Where the measured pace of a device outlives a restart; strict engines know one bucket."""
    settings = configuration.engine
    parts = [
        str(model.device).replace(":", ""),
        str(model.transformer.dtype).removeprefix("torch."),
    ]
    parts += [str(count_threads(settings)), *(["strict"] if settings.strict else [])]
    return configuration.features.home / "pace" / f"{'-'.join(parts)}.json"


async def load_specified(models: Models, settings: ModelSlice) -> None:
    """Raises StartFailed."""
    try:
        for path in settings.specifications:
            await models.load(path)
    except (SpecificationInvalid, CheckpointUnusable, EtalageError) as error:
        raise StartFailed(str(error)) from error


def name_devices(settings: EngineSlice) -> Sequence[str]:
    return settings.devices or (settings.device,)


def adopt_models(
    configuration: Configuration,
    placed: Sequence[Mapping[str, ProductDiffusion]],
    engines: Sequence[Engine],
    devices: Sequence[str],
    metrics: Metrics,
    elsewhere: Elsewhere | None = None,
) -> Models:
    """The registry, with what is built in: each is warm on every device."""
    width = placed[0][QUALITY].embedding_width
    if elsewhere is None:
        workshop = open_workshop(engines, devices, width)
    else:
        workshop = elsewhere.open_workshop(width)
    models = Models(workshop, metrics, policy=configuration.model.swap)
    for name, model in placed[0].items():
        measure = partial(measure_steps, engines[0]) if elsewhere is None else elsewhere.measure
        step_s = measure(model)
        models.adopt(name, [each[name] for each in placed], describe(model), step_s)
        log.info("warm", model=model.name, digest=model.digest, step_s=step_s)
    return models


def count_threads(settings: EngineSlice) -> int:
    """As many as this process may run on, which is fewer than there are in a container."""
    return settings.threads or len(os.sched_getaffinity(0))


def load_models(configuration: Configuration, device: str) -> dict[str, ProductDiffusion]:
    """The model that answers, and the few-step student where it is of this model."""
    settings = configuration.engine
    folder = configuration.model.checkpoint or DEFAULT_CHECKPOINT
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    dtype = choose_dtype(settings.dtype, device)
    model = ProductDiffusion.load(folder, device, dtype)
    if configuration.model.image_encoder:
        model = swap_encoders(model, load_encoders(configuration.model, device))
    models = {QUALITY: model}
    student = configuration.model.fast_checkpoint
    is_embedded = configuration.model.checkpoint is None and not configuration.model.image_encoder
    if student is None and is_embedded:  # distilled from the embedded model, it goes with no other
        student = FAST_CHECKPOINT
    if student is not None:
        models[FAST] = ProductDiffusion.load_student(student, model, dtype)
    for each in models.values():
        num_steps = each.preset.num_steps if each is not model else None
        each.preset = choose_preset(configuration.model, num_steps)
        if dtype is not torch.float32:
            check_numerics(each)
        if settings.compile:
            each.compile()
    return models


def choose_preset(settings: ModelSlice, num_steps: int | None) -> Preset:
    """What a request of the embedded model gets that says nothing; a student has its own steps."""
    num_steps = num_steps or settings.default_steps
    return Preset(settings.sampler, num_steps, settings.product_scale, settings.max_user_scale)


def check_numerics(model: ProductDiffusion) -> None:
    """Raises CheckpointUnusable where this machine's short numbers are too far from float32."""
    term = warm_request(model).walk[0].terms[0]
    x, sigma = draw_noise(0, model.latent_shape)[None].to(model.device), torch.ones(1)
    exact = copy.deepcopy(model.transformer).float()
    sigma = sigma.to(model.device)
    found = model.denoise(x, sigma, term.cond)
    wanted = FlowDenoiser(exact)(x, sigma, term.cond)
    error = float((found - wanted).norm() / wanted.norm())
    if not error < MAX_DTYPE_ERROR:
        raise CheckpointUnusable(
            f"{model.transformer.dtype} on {model.device} is {error:.1%} from float32; "
            f"allowed is {MAX_DTYPE_ERROR:.0%}: set engine.dtype to float32"
        )


def load_encoders(settings: ModelSlice, device: str = "cpu") -> Encoders:
    """Those that are configured, else the model's own. Raises CheckpointUnusable."""
    if settings.image_encoder and settings.text_encoder:
        return load_pretrained(settings.image_encoder, settings.text_encoder, device)
    folder = settings.checkpoint or DEFAULT_CHECKPOINT
    try:
        return Encoders.load(folder / "encoders", device)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointUnusable(f"{folder} has no encoders that load: {error}") from error


def swap_encoders(model: ProductDiffusion, encoders: Encoders) -> ProductDiffusion:
    """The model reading other vectors. Raises CheckpointUnusable where they don't fit in."""
    wanted = model.transformer.config.embedding_width
    if encoders.width != wanted:
        raise CheckpointUnusable(
            f"the configured encoders make vectors of {encoders.width} numbers, but the generator "
            f"{model.name} reads {wanted}: choose encoders of that width, or train it with these"
        )
    digest = hashlib.sha256(f"{model.digest} {encoders.digest}".encode()).hexdigest()[:16]
    return ProductDiffusion(
        model.autoencoder,
        model.transformer,
        encoders,
        model.name,
        digest,
        Rules(model.rules.intervals),  # taste buckets were found among the model's own vectors
        model.shift,
    )


def choose_dtype(name: str, device: str) -> torch.dtype:
    """float32 on a CPU, where every batch then gives the same image to the last visible bit."""
    if name == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def open_features(
    settings: FeaturesSlice,
    encoders: Encoders,
    metrics: Metrics,
    privacy: PrivacySlice,
) -> FeatureReader:
    config, repository = store_config(settings, privacy), None
    if settings.mapping is not None:
        repository = Repository(settings.mapping)
    elif not settings.online_store:
        prepare_world(config, encoders, progress=sys.stderr.isatty())
    reader = FeatureReader(
        config,
        width=encoders.width,
        encoder_digest=encoders.digest,
        observer=metrics,
        refresh_s=settings.refresh_s,
        breaker=Breaker("feature_store", metrics),
        min_read_s=settings.min_read_s,
        repository=repository,
    )
    reader.start()
    return reader


def engine_limits(settings: EngineSlice, num_engines: int = 1) -> EngineLimits:
    return EngineLimits(
        settings.buckets,
        settings.max_rows,
        settings.patience_s,
        is_strict=settings.strict,
        shared_latents_bytes=settings.shared_latents_bytes,
        num_threads=max(1, count_threads(settings) // num_engines),
    )
