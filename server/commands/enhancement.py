"""Builds what diagnoses and repairs packshots from the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from diffusion.checkpoint import CheckpointUnusable
from diffusion.damage_levels import KINDS
from diffusion.matting import MATTING, Matting, MattingModel
from diffusion.pretrained_matting import PretrainedMatting
from diffusion.restoration import RESTORER, Restorer, read_index
from server import logs
from server.commands.start_failed import StartFailed
from server.commands.workshop import in_passing
from server.configuration import EnhancementSlice
from server.enhancement.enhance import DiagnosisObserver, Enhancer, Reader
from server.enhancement.restoring import Restoring, TileModel
from server.provenance.sealing import UNSEALED, Sealer
from server.sampling.engine import Engine
from server.sampling.router import Router
from server.sampling.row import RowRequest

log = logs.logger(__name__)


def open_matting(settings: EnhancementSlice, device: str) -> MattingModel:
    """Raises StartFailed."""
    try:
        if settings.photo_matting:
            return PretrainedMatting.load(settings.photo_matting, device, settings.product_labels)
        return Matting.load(settings.matting or MATTING, device)
    except CheckpointUnusable as error:
        raise StartFailed(f"enhancement: {error}") from error


def check_restorer(settings: EnhancementSlice) -> None:
    """It is loaded later: at the first repair nobody should be told that it is none. Raises
    StartFailed."""
    try:
        read_index(settings.restorer or RESTORER)
    except CheckpointUnusable as error:
        raise StartFailed(f"enhancement.restorer: {error}") from error


def open_enhancer(
    settings: EnhancementSlice,
    engines: Sequence[Engine],
    devices: Sequence[str],
    reader: Reader,
    matting: MattingModel,
    workers: Executor,
    read_timeout_s: float,
    observer: DiagnosisObserver | None = None,
    sealer: Sealer = UNSEALED,
) -> tuple[Enhancer, Restoring]:
    """The second is to be closed. The restorer is loaded when a picture first needs it."""
    folder = settings.restorer or RESTORER

    async def open_restorer() -> TileModel:
        restorers = []
        for engine, device in zip(engines, devices, strict=True):
            restorer = await asyncio.to_thread(in_passing, Restorer.load, folder, device)
            await asyncio.wrap_future(engine.add(restorer, [warm_request(restorer)]))
            restorers.append(restorer)
        log.info("warm", model=restorers[0].name, digest=restorers[0].digest)
        return restorers[0]

    restoring = Restoring(Router(engines), workers, open_restorer)
    enhancer = Enhancer(reader, restoring, matting, workers, read_timeout_s, observer, sealer)
    return enhancer, restoring


def warm_request(restorer: Restorer) -> RowRequest:
    grey = np.full((restorer.side, restorer.side, 3), 128, np.uint8)
    unharmed = np.zeros(len(KINDS), np.float32)
    return RowRequest.along(restorer.plan(grey, levels=unharmed), restorer.name, 0)
