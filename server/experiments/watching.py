"""Looks at the sample ratios of what runs, now and then: a test that is broken is told at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Engine, distinct, func, select
from sqlalchemy.exc import SQLAlchemyError

from server import logs
from server.experiments.definition import Experiment
from server.experiments.event_log.tables import exposures

log = logs.logger(__name__)


class RatioObserver(Protocol):
    def sample_ratio(self, experiment: str, p_value: float) -> None: ...


class Watcher:
    """Belongs to one event loop. A bandit has no ratio that it should have."""

    def __init__(
        self,
        engine: Engine,
        experiments: Sequence[Experiment],
        observer: RatioObserver,
        pause_s: float = 300.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._engine, self._observer, self._pause_s = engine, observer, pause_s
        self._experiments = [each for each in experiments if each.bandit is None]
        self._clock = clock
        self._told: set[str] = set()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._experiments:
            self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def look(self) -> None:
        """Once at each that runs. Raises SQLAlchemyError."""
        from server.experiments.analysis.sample_ratio import check_sample_ratio  # takes a second

        now = self._clock()
        for experiment in self._experiments:
            if not experiment.is_running(now):
                continue
            counts = await asyncio.to_thread(count_units, self._engine, experiment.key)
            ratio = check_sample_ratio(
                {arm.name: counts.get(arm.name, 0) for arm in experiment.arms},
                {arm.name: arm.weight for arm in experiment.arms},
            )
            self._observer.sample_ratio(experiment.key, ratio.p_value)
            if ratio.is_mismatch and experiment.key not in self._told:
                self._told.add(experiment.key)
                log.error("sample ratio mismatch", experiment=experiment.key, p=ratio.p_value)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            with suppress(SQLAlchemyError):  # the next time, then
                await self.look()


def count_units(engine: Engine, experiment: str) -> Mapping[str, int]:
    """Shoppers who saw an image, by arm. Blocks."""
    query = (
        select(exposures.c.arm, func.count(distinct(exposures.c.unit)))
        .where(exposures.c.experiment == experiment, exposures.c.is_override.is_(False))
        .group_by(exposures.c.arm)
    )
    with engine.connect() as connection:
        return {arm: count for arm, count in connection.execute(query)}
