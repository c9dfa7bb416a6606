"""ingest: a catalogue, or the embedded world, into the feature store."""

from __future__ import annotations

import sys
from pathlib import Path

from diffusion.checkpoint import CheckpointUnusable
from diffusion.encoders import Encoders
from features.catalogue import Catalogue
from features.catalogue_rows import CatalogueUnreadable
from features.ingest import ingest as ingest_catalogue
from features.prepare import prepare_world
from features.store import StoreConfig
from features.vector import FingerprintMismatch
from server import logs
from server.commands.building import load_encoders
from server.commands.enhancement import open_matting
from server.commands.feature_store import store_config
from server.commands.start_failed import StartFailed
from server.configuration import Configuration

_UNUSABLE = CatalogueUnreadable, CheckpointUnusable, FingerprintMismatch, StartFailed, OSError


def ingest(configuration: Configuration, catalogue: Path | None, is_strict: bool = False) -> int:
    """The exit status: 1 where nothing was written, or anything left out although `is_strict`."""
    logs.configure_logs(configuration.logging.format, configuration.logging.level)
    store = store_config(configuration.features, configuration.privacy)
    try:
        encoders = load_encoders(configuration.model)
        if catalogue is None:
            return _ingest_world(store, encoders)
        find_matte = open_matting(configuration.enhancement, "cpu").find_alpha
        return _ingest_shop(Catalogue(catalogue, find_matte), store, encoders, is_strict)
    except _UNUSABLE as error:
        print(f"ingest: {error}", file=sys.stderr)
        return 1


def _ingest_world(store: StoreConfig, encoders: Encoders) -> int:
    is_new = prepare_world(store, encoders)
    print(f"the embedded world is {'ready' if is_new else 'fresh already'} in {store.folder}")
    return 0


def _ingest_shop(
    catalogue: Catalogue, store: StoreConfig, encoders: Encoders, is_strict: bool
) -> int:
    report = ingest_catalogue(catalogue, store, encoders)
    for problem in report.problems:
        print(f"left out: {problem}", file=sys.stderr)
    print(
        f"{report.num_products} products in {report.seconds:.1f} s, "
        f"{len(report.problems)} problems, fingerprint {report.fingerprint}"
    )
    return report.exit_code(is_strict)
