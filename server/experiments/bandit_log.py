"""What a bandit learns from: decisions whose image was rendered, and those that were rewarded.

What is new of both tables is read in the order of arrival, a span of keys at a time, so that no
question takes long, however much there is of other experiments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from cachetools import FIFOCache
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Engine, Row, Select, Table, Text, and_, cast, func, select

from server.experiments.bandit_context import SIZE
from server.experiments.definition import Experiment
from server.experiments.event_log.export import find_ends
from server.experiments.event_log.tables import exposures, outcomes

SPAN = 5_000
"""Keys of a question."""
NUM_EARLY = 10_000
"""Outcomes that came before their exposure: the last ones are looked at again."""
NUM_REMEMBERED = 100_000
"""Decisions rewarded last: a second click on one of them is no second reward."""

_NUM_NAMED = 1_000  # ids in a question
_DECISION = (
    exposures.c.key,
    exposures.c.exposure_id,
    exposures.c.arm,
    cast(exposures.c.context, Text).label("context"),
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Names of arms [n], and contexts [n, SIZE], NaN where one can't be read. Of decisions with no
    reward as yet, or of those, or earlier ones, that have one now."""

    arms: Sequence[str]
    contexts: NDArray[np.float64]
    are_rewards: bool


class LogReader:
    """Tells each decision once, and then each reward once. Belongs to one thread at a time."""

    def __init__(self, engine: Engine, experiment: Experiment) -> None:
        self._engine, self._experiment = engine, experiment.key
        self._reward = "" if experiment.bandit is None else experiment.bandit.reward
        self._read_up_to = {exposures: 0, outcomes: 0}
        self._early: FIFOCache[str, None] = FIFOCache(NUM_EARLY)
        self._rewarded: FIFOCache[int, None] = FIFOCache(NUM_REMEMBERED)

    def read(self) -> Iterator[Rows]:
        """What is new by now, a piece at a time. Blocks; where it raises
        sqlalchemy.exc.SQLAlchemyError, the next one goes on from there."""
        ends = find_ends(self._engine)
        newest = ends["exposures"]
        for first, last in self._divide(exposures, newest):
            found = self._ask(select(*_DECISION).where(self._are_ours(exposures, first, last)))
            self._read_up_to[exposures] = last
            yield _to_rows(found, are_rewards=False)
        if self._early:
            yield self._match(list(self._early), newest)
        for first, last in self._divide(outcomes, ends["outcomes"]):
            ours = self._are_ours(outcomes, first, last)
            query = select(outcomes.c.exposure_id).where(ours, outcomes.c.kind == self._reward)
            rows = self._match([row.exposure_id for row in self._ask(query)], newest)
            self._read_up_to[outcomes] = last
            yield rows

    def _match(self, exposure_ids: Sequence[str], newest: int) -> Rows:
        """The decisions of these exposures that were told, and not as rewarded."""
        ours = self._are_ours(exposures, 0, newest)
        found: list[Row[Any]] = []
        for place in range(0, len(exposure_ids), _NUM_NAMED):
            named = exposures.c.exposure_id.in_(exposure_ids[place : place + _NUM_NAMED])
            found += self._ask(select(*_DECISION).where(ours, named))
        known = {row.exposure_id for row in found}
        for exposure_id in exposure_ids:
            if exposure_id in known:
                self._early.pop(exposure_id, None)
            else:
                self._early[exposure_id] = None
        new = {row.key: row for row in found if row.key not in self._rewarded}
        for key in new:
            self._rewarded[key] = None
        return _to_rows(list(new.values()), are_rewards=True)

    def _divide(self, table: Table, end: int) -> Iterator[tuple[int, int]]:
        """The first and last keys of spans that were not read, without what went long ago."""
        (least,) = self._ask(select(func.min(table.c.key)))[0]
        first = max(least or 0, self._read_up_to[table] + 1)
        for start in range(first, end + 1, SPAN):
            yield start, min(start + SPAN - 1, end)

    def _are_ours(self, table: Table, first: int, last: int) -> ColumnElement[bool]:
        row = table.c
        is_taking_part = and_(row.experiment == self._experiment, row.unit != "")
        return and_(row.key.between(first, last), is_taking_part, row.is_override.is_(False))

    def _ask(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()


def _to_rows(found: Sequence[Row[Any]], are_rewards: bool) -> Rows:
    contexts = np.full((len(found), SIZE), np.nan)
    for context, row in zip(contexts, found, strict=True):
        with suppress(ValueError, TypeError, RecursionError):
            told = json.loads(row.context)
            if isinstance(told, list) and len(told) == SIZE:
                context[:] = told
    return Rows([row.arm for row in found], contexts, are_rewards)
