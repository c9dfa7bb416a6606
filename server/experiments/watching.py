"""Looks at the sample ratios of what runs, now and then: a test that is broken is told at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Engine, distinct, func, select

from server import logs
from server.experiments.definition import Experiment
from server.experiments.event_log.tables import exposures

_REST = 20.0
"""A look at a long log takes long: as many times as long there is none."""

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
            counts = await asyncio.to_thread(count_units, self._engine, experiment)
            ratio = check_sample_ratio(
                {arm.name: counts.get(arm.name, 0) for arm in experiment.arms},
                {arm.name: arm.weight for arm in experiment.arms},
            )
            self._observer.sample_ratio(experiment.key, ratio.p_value)
            if ratio.is_mismatch and experiment.key not in self._told:
                self._told.add(experiment.key)
                log.error("sample ratio mismatch", experiment=experiment.key, p=ratio.p_value)

    async def _watch(self) -> None:
        is_failing, pause_s = False, self._pause_s
        while True:
            await asyncio.sleep(pause_s)
            began_s = time.monotonic()
            try:
                await self.look()
                is_failing = False
            except Exception as error:  # the next time, then
                if not is_failing:  # once, not at each try
                    log.error("sample ratios can't be told", exc_info=error)
                is_failing = True
            pause_s = max(self._pause_s, _REST * (time.monotonic() - began_s))


def count_units(engine: Engine, experiment: Experiment) -> Mapping[str, int]:
    """Shoppers who saw an image, by arm; before its start an experiment was another one. Blocks."""
    start_s = 0.0 if experiment.start is None else experiment.start.timestamp()
    query = (
        select(exposures.c.arm, func.count(distinct(exposures.c.unit)))
        .where(
            exposures.c.experiment == experiment.key,
            exposures.c.is_override.is_(False),
            exposures.c.time_s >= start_s,
        )
        .group_by(exposures.c.arm)
    )
    with engine.connect() as connection:
        return {arm: count for arm, count in connection.execute(query)}
