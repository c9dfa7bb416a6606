"""dataset: what shoppers did in experiments, as a training set."""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from diffusion.checkpoint import CheckpointUnusable
from features.catalogue import Catalogue
from features.catalogue_rows import CatalogueUnreadable
from features.dataset import Dataset, NothingToLearn, build_dataset
from features.keys import KeysUnusable, load_keys
from features.simulate import WORLD
from features.store import StoreMissing, open_store
from features.vector import FingerprintMismatch
from server.bulk.store import StoreFailed
from server.commands.building import load_encoders
from server.commands.enhancement import open_matting
from server.commands.experiments import export_events, name_keys
from server.commands.feature_store import store_config
from server.commands.start_failed import StartFailed
from server.configuration import Configuration
from server.errors import FailedPrecondition
from server.experiments.event_log.opening import DatabaseUnusable
from server.experiments.pseudonyms import Pseudonyms

_UNUSABLE = (
    *(CatalogueUnreadable, CheckpointUnusable, DatabaseUnusable, FailedPrecondition),
    *(FingerprintMismatch, ImportError, KeysUnusable, NothingToLearn, OSError, SQLAlchemyError),
    *(StartFailed, StoreFailed, StoreMissing),
)


def dataset(configuration: Configuration, catalogue: Path | None, out: Path) -> int:
    """The exit status: 1 where nothing was written."""
    settings, home = configuration.experiments, configuration.features.home.absolute()
    try:
        events = export_events(settings, home)
        find_matte = open_matting(configuration.enhancement, "cpu").find_alpha
        out.parent.mkdir(parents=True, exist_ok=True)
        made = build_dataset(
            open_store(store_config(configuration.features, configuration.privacy)),
            load_encoders(configuration.model),
            [product for product, _ in Catalogue(catalogue or WORLD, find_matte)],
            events,
            Pseudonyms(load_keys(name_keys(settings, home)).lasting).name,
            out,
        )
    except _UNUSABLE as error:
        print(f"dataset: {error}", file=sys.stderr)
        return 1
    print(describe(made), out, sep="\n")
    return 0


def describe(made: Dataset) -> str:
    written = made.written
    return (
        f"{made.num_exposures} images of a look that owes nothing to who saw it, {made.num_liked} "
        f"of them liked by shoppers of the store; {written.num_moments} of those consent, "
        f"{written.num_with_profile} with a profile, {written.num_with_recent} with last clicks"
    )
