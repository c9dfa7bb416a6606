"""report: what an experiment came to, for people and as JSON."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from server.bulk.store import StoreFailed
from server.commands.experiments import export_events, read_programme
from server.commands.start_failed import StartFailed
from server.configuration import Configuration
from server.errors import FailedPrecondition
from server.experiments.analysis.page import render
from server.experiments.analysis.report import ExperimentReport, tell
from server.experiments.analysis.study import analyze
from server.experiments.event_log.opening import DatabaseUnusable


def report(configuration: Configuration, key: str, html: Path | None, json: Path | None) -> int:
    """The exit status: 0, 2 where there is no such experiment, 1 where events can't be read."""
    settings, home = configuration.experiments, configuration.features.home.absolute()
    try:
        programme = read_programme(settings)
        if (experiment := programme.find(key)) is None:
            known = ", ".join(each.key for each in programme.experiments) or "there is none"
            print(f"report: {key!r} is none of the experiments: {known}", file=sys.stderr)
            return 2
        folder = export_events(settings, home)
        found = analyze(folder, experiment, time.time())
    except (StartFailed, FailedPrecondition, StoreFailed, DatabaseUnusable) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    except (SQLAlchemyError, ImportError, OSError) as error:
        print(f"report: experiments.database: {error}", file=sys.stderr)
        return 1
    print(describe(found))
    for path, text in ((html, render), (json, tell)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text(found), "utf-8")
            print(path)
    return 0


def describe(found: ExperimentReport) -> str:
    """A few lines for a person."""
    verdict = found.verdict
    doubts = [check for check in verdict.checks if check.state != "ok"]
    lines = [f"{check.state}: {check.text}" for check in doubts]
    return "\n".join([verdict.headline, *verdict.sentences, *lines])
