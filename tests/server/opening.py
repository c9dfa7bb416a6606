"""A pipeline around an engine, with what ships and a cache that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from diffusion.encoders import Encoders
from diffusion.finding import FindMatte
from server.commands.creatives import open_cache, read_rules
from server.configuration import CreativesSlice, ImageCacheSlice, ProvenanceSlice
from server.pipeline import Models, Pipeline, Reader
from server.provenance.sealing import UNSEALED, Sealer
from server.rows import Defaults
from server.rulebook import WordsObserver
from server.safety import SafetyCheck
from server.sampling.engine import Engine
from server.sampling.router import Router
from server.studio import Studio, VerificationObserver


def open_pipeline(
    reader: Reader,
    models: Models,
    encoders: Encoders,
    engine: Engine,
    workers: Executor,
    defaults: Defaults | None = None,
    cache: Mapping[str, Any] | None = None,
    creatives: Mapping[str, Any] | None = None,
    find_matte: FindMatte | None = None,
    safety: SafetyCheck | None = None,
    observer: VerificationObserver | None = None,
    sealer: Sealer = UNSEALED,
    provenance: Mapping[str, Any] | None = None,
    words_observer: WordsObserver | None = None,
) -> Pipeline:
    defaults = defaults or Defaults()
    return Pipeline(
        reader,
        models,
        encoders,
        read_rules(
            CreativesSlice(**(creatives or {})),
            ProvenanceSlice(**(provenance or {})),
            words_observer,
        ),
        Studio(Router([engine]), workers, defaults, observer, safety),
        open_cache(ImageCacheSlice(**(cache or {"memory_bytes": 0})), workers),
        workers,
        defaults,
        find_matte,
        sealer,
    )
