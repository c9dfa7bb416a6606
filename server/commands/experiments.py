"""Builds what assigns arms and takes events in, from the configuration."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine
from sqlalchemy.exc import SQLAlchemyError

from diffusion.declarations import DeclarationInvalid
from features.keys import KeysUnusable, load_keys
from server import logs
from server.bulk.store import StoreFailed
from server.commands.creatives import read_sensitive
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, ExperimentsSlice
from server.core import ImageRequest
from server.errors import Unavailable
from server.experiments.assigner import Assigner
from server.experiments.assignment import Assignments
from server.experiments.bandit import ThompsonBandit
from server.experiments.definition import Experiment
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import DatabaseUnusable, open_events
from server.experiments.laboratory import Laboratory
from server.experiments.programme import Programme, load_programme
from server.experiments.pseudonyms import Pseudonyms
from server.experiments.recording import Recorder
from server.experiments.sticky import StickyMemory, StickyStore
from server.experiments.trials import Trials
from server.experiments.watching import Watcher
from server.metrics import Metrics

if TYPE_CHECKING:
    from server.experiments.bandit_learning import BanditLearning


_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Experimenting:
    """For the pipeline, and for the door."""

    trials: Trials
    laboratory: Laboratory
    recorder: Recorder
    log: EventLog
    sticky: StickyMemory


def read_programme(settings: ExperimentsSlice) -> Programme:
    """Raises StartFailed with file and line."""
    try:
        return load_programme(settings.programme)
    except DeclarationInvalid as error:
        raise StartFailed(str(error)) from error


def check_targeting(programme: Programme, configuration: Configuration) -> None:
    """Raises StartFailed with file and line where shoppers are targeted by what is sensitive."""
    if configuration.experiments.sensitive_targeting:
        return
    try:
        programme.check_targeting(read_sensitive(configuration.creatives).find)
    except DeclarationInvalid as error:
        raise StartFailed(str(error)) from error


@asynccontextmanager
async def open_experiments(
    configuration: Configuration, programme: Programme, models: Collection[str], metrics: Metrics
) -> AsyncIterator[Experimenting]:
    """`models` are the names that arms may use. Raises StartFailed."""
    settings, home = configuration.experiments, configuration.features.home.absolute()
    try:
        programme.check_models(models)
        keys = load_keys(name_keys(settings, home))
        database = await asyncio.to_thread(open_events, name_database(settings, home))
    except (DeclarationInvalid, KeysUnusable) as error:
        raise StartFailed(str(error)) from error
    except (DatabaseUnusable, SQLAlchemyError, ImportError, OSError) as error:
        raise StartFailed(f"experiments.database can't be opened: {error}") from error
    log = EventLog(database, settings.max_waiting, settings.keep_s)
    known = [experiment.key for experiment in programme.experiments]
    sticky, names = StickyMemory(log.sticky_buckets), Pseudonyms(keys.lasting).name

    async def recall(request: ImageRequest) -> None:
        await sticky.recall(names(request.user_id, request.session_id))

    assigner = open_assigner(settings, programme, sticky)
    bandit = ThompsonBandit(programme.experiments)
    assignments = Assignments(programme, assigner, names, bandit=bandit)
    is_sticky = bool(programme.experiments) and not settings.openfeature_provider
    trials = Trials(assignments, keys, log, metrics, recall=recall if is_sticky else None)
    recorder = Recorder(log, keys, known, metrics, settings.window_s)
    laboratory = Laboratory(programme, recorder, partial(make_report, database, name_export(home)))
    learning = open_learning(bandit, programme, database)
    watcher = Watcher(database, programme.experiments, metrics, settings.watch_s)
    log.start()
    watcher.start()
    if learning is not None:
        learning.start()
    try:
        yield Experimenting(trials, laboratory, recorder, log, sticky)
    finally:
        if learning is not None:
            await learning.close()
        await watcher.close()
        await trials.close()
        await laboratory.close()
        await log.close()


def name_database(settings: ExperimentsSlice, home: Path) -> str | URL:
    return settings.database or URL.create("sqlite", database=str(home / "events.db"))


def name_keys(settings: ExperimentsSlice, home: Path) -> Path:
    return settings.keys or home / "keys" / "experiments"


def name_export(home: Path) -> Path:
    """Where events lie as parquet, for reports and for the warehouse."""
    return home / "experiments" / "events"


def export_events(settings: ExperimentsSlice, home: Path) -> Path:
    """What is not exported yet, beside no server; the folder. Raises DatabaseUnusable, and what
    `export` does."""
    from server.experiments.event_log.export import export

    folder, database = name_export(home), open_events(name_database(settings, home))
    try:
        export(database, folder)
    finally:
        database.dispose()
    return folder


def open_assigner(
    settings: ExperimentsSlice, programme: Programme, sticky: StickyStore
) -> Assigner:
    """Libraries that take seconds to import are, where there is something to assign."""
    if settings.openfeature_provider:
        from server.experiments.openfeature_assigner import OpenFeatureAssigner

        return OpenFeatureAssigner.over(_call(settings.openfeature_provider))
    if not programme.experiments:
        return Nobody()
    from server.experiments.growthbook_assigner import GrowthBookAssigner

    return GrowthBookAssigner(programme.experiments, sticky)


def open_learning(
    bandit: ThompsonBandit, programme: Programme, database: Engine
) -> BanditLearning | None:
    """Raises StartFailed where the extra `bandit` is missing."""
    if not any(experiment.bandit for experiment in programme.experiments):
        return None
    try:
        from server.experiments.bandit_learning import BanditLearning
    except ImportError as error:
        raise StartFailed(f"a bandit needs the extra `bandit`: {error}") from error
    return BanditLearning(bandit, programme.experiments, database)


class Nobody:
    """Takes no one in."""

    def choose(self, experiment: Experiment, unit: str, is_eligible: bool = True) -> None:
        return None


def make_report(
    database: Engine, folder: Path, experiment: Experiment, is_drawn: bool
) -> tuple[str, str]:
    """As of now; takes seconds. Raises Unavailable."""
    import time

    from server.experiments.analysis.page import render
    from server.experiments.analysis.report import tell
    from server.experiments.analysis.study import analyze
    from server.experiments.event_log.export import export

    try:
        export(database, folder)
    except (SQLAlchemyError, StoreFailed) as error:
        _log.error("events can't be exported", exc_info=error)
        raise Unavailable("events can't be read now", "EVENTS_UNAVAILABLE") from error
    report = analyze(folder, experiment, time.time())
    return tell(report), render(report) if is_drawn else ""


def _call(name: str) -> Any:
    """What package.module:callable makes. Raises StartFailed."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise StartFailed(f"experiments.openfeature_provider: {name}: {error}") from error
