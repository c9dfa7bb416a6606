"""Experiments, for the door: what there are, what shoppers did, what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from server.errors import ExperimentNotFound
from server.experiments.definition import Experiment
from server.experiments.programme import Programme
from server.experiments.recording import Recorded, Recorder, ReportedEvent

Reporter = Callable[[Experiment, bool], tuple[str, str]]
"""The report as JSON, and as HTML where that is wanted; takes a thread, for seconds."""


class Laboratory:
    """Belongs to one event loop. One report at a time is made, whoever has stopped waiting for it:
    they take memory and cores."""

    def __init__(self, programme: Programme, recorder: Recorder, reporter: Reporter) -> None:
        self._programme, self._recorder, self._reporter = programme, recorder, reporter
        self._desk = ThreadPoolExecutor(1, "report")

    @property
    def experiments(self) -> Sequence[Experiment]:
        return self._programme.experiments

    async def record(self, reported: Sequence[ReportedEvent]) -> Recorded:
        return await self._recorder.record(reported)

    async def report(self, key: str, *, is_drawn: bool) -> tuple[str, str]:
        if (experiment := self._programme.find(key)) is None:
            raise ExperimentNotFound(key)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._desk, self._reporter, experiment, is_drawn)

    async def close(self) -> None:
        """Waits for the report that is being made."""
        await asyncio.to_thread(self._desk.shutdown, cancel_futures=True)
