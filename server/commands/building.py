"""Builds what answers requests from the configuration: model, features, engine, pipeline."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import torch
import transformers
from safetensors import SafetensorError

from diffusion.checkpoint import DEFAULT_CHECKPOINT, CheckpointUnusable
from diffusion.encoders import Encoders
from diffusion.fusion import fuse
from diffusion.guidance import Guidance
from diffusion.model import ProductDiffusion
from diffusion.pretrained import load_pretrained
from diffusion.samplers import plan_euler
from features.definitions import Lifetimes
from features.prepare import prepare_world
from features.reader import FeatureReader
from features.store import StoreConfig, StoreMissing
from features.vector import FingerprintMismatch
from server import logs
from server.commands.serve import Built, StartFailed
from server.configuration import Configuration, EngineSlice, FeaturesSlice, ModelSlice
from server.core import ModelCard
from server.metrics import Metrics
from server.pipeline import Pipeline
from server.rows import Defaults
from server.sampling.engine import Engine, EngineLimits
from server.sampling.row import RowRequest

NUM_WORKERS = 4  # threads for pixels: decoding packshots, composing, encoding

log = logs.logger(__name__)


@asynccontextmanager
async def build(configuration: Configuration, metrics: Metrics) -> AsyncIterator[Built]:
    """Yields once the model is loaded, features are there and every bucket is warm."""
    try:
        model = await asyncio.to_thread(load_model, configuration)
        reader = await asyncio.to_thread(open_features, configuration.features, model, metrics)
    except (CheckpointUnusable, FingerprintMismatch, StoreMissing) as error:
        raise StartFailed(str(error)) from error
    engine = Engine(model, engine_limits(configuration.engine), metrics)
    await asyncio.to_thread(engine.start, warm_request(model))
    log.info("warm", model=model.name, digest=model.digest, tick_ms=engine.pace.measured_ms())
    gc.collect()
    gc.freeze()  # model and libraries live as long as the process: no collection walks them again
    defaults = Defaults(
        num_steps=configuration.model.default_steps,
        product_scale=configuration.model.product_scale,
        strength=configuration.model.strength,
        max_shopper_scale=configuration.model.max_user_scale,
        read_timeout_s=configuration.features.timeout_s,
    )
    with ThreadPoolExecutor(NUM_WORKERS, "pixels") as workers:
        pipeline = Pipeline(reader, model, engine, workers, defaults)
        try:
            card = ModelCard(model.name, model.digest)
            yield Built(pipeline, card, lambda: engine.is_healthy)
        finally:
            await asyncio.to_thread(engine.close)
            await reader.close()


def load_model(configuration: Configuration) -> ProductDiffusion:
    settings = configuration.engine
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = configuration.model.checkpoint or DEFAULT_CHECKPOINT
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = ProductDiffusion.load(folder, device, choose_dtype(settings.dtype, device))
    if configuration.model.image_encoder:
        return swap_encoders(model, load_encoders(configuration.model, device))
    return model


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
    return ProductDiffusion(model.autoencoder, model.transformer, encoders, model.name, digest)


def choose_dtype(name: str, device: str) -> torch.dtype:
    """float32 on a CPU, where every batch then gives the same image to the last visible bit."""
    if name == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def store_config(settings: FeaturesSlice) -> StoreConfig:
    lifetimes = Lifetimes(
        user_profile_s=settings.user_profile_ttl_s,
        user_recent_s=settings.user_recent_ttl_s,
        product_features_s=settings.product_features_ttl_s,
    )
    return StoreConfig(
        home=settings.home,
        lifetimes=lifetimes,
        online_store=settings.online_store,
        offline_store=settings.offline_store,
        registry=settings.registry,
    )


def open_features(
    settings: FeaturesSlice, model: ProductDiffusion, metrics: Metrics
) -> FeatureReader:
    config = store_config(settings)
    if not settings.online_store:
        prepare_world(config, model.encoders, progress=sys.stderr.isatty())
    reader = FeatureReader(
        config,
        width=model.encoders.width,
        encoder_digest=model.encoders.digest,
        observer=metrics,
        refresh_s=settings.refresh_s,
    )
    reader.start()
    return reader


def engine_limits(settings: EngineSlice) -> EngineLimits:
    return EngineLimits(settings.buckets, settings.max_rows, settings.patience_s)


def warm_request(model: ProductDiffusion) -> RowRequest:
    """A row of a grey square for nobody: what warming runs every bucket with."""
    width = model.encoders.width
    square = np.full((64, 64, 4), 128, np.uint8)
    vector = np.zeros(width, np.float32)
    condition = model.prepare_product(square, vector, vector)
    plan = plan_euler(model.sigmas(1))
    return RowRequest(0, plan, Guidance(), fuse(condition, vector, "preserve"))
