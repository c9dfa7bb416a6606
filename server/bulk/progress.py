"""How far a run has come: a bar on a terminal, elsewhere a line in the log twice a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from tqdm import tqdm

from server import logs
from server.bulk.record import Record

_PAUSE_S = 30.0

log = logs.logger(__name__)


class Progress:
    """`num_finished` of `num_rows` were so before."""

    def __init__(
        self, num_rows: int, num_finished: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.num_finished = self.num_failed = self.num_images = 0
        self._num_rows, self._num_before, self._clock = num_rows, num_finished, clock
        self._bar = tqdm(
            total=num_rows,
            initial=num_finished,
            desc="bulk",
            unit=" rows",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )
        self._started_s = self._told_s = self._ended_s = clock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    @property
    def num_made(self) -> int:
        """Rows that ended in this run, one way or the other."""
        return self.num_finished + self.num_failed

    @property
    def seconds(self) -> float:
        """Of making; building what makes is no part of it, unless that is begun elsewhere."""
        return self._ended_s - self._started_s

    def begin(self) -> None:
        self._started_s = self._told_s = self._clock()
        self._bar.unpause()

    def note(self, records: Sequence[Record]) -> None:
        for record in records:
            self.num_finished += record.is_finished
            self.num_failed += not record.is_finished
            self.num_images += len(record.images)
        if not records:
            return
        self._ended_s = self._clock()
        if self.num_failed:
            self._bar.set_postfix(failed=self.num_failed, refresh=False)
        self._bar.update(len(records))
        if self._bar.disable and self._ended_s - self._told_s >= _PAUSE_S:
            self._told_s = self._ended_s
            self._tell()

    def _tell(self) -> None:
        left = self._num_rows - self._num_before - self.num_made
        rate = self.num_made / self.seconds
        log.info(
            "bulk",
            done=self._num_before + self.num_finished,
            failed=self.num_failed,
            of=self._num_rows,
            rows_per_s=round(rate, 2),
            left_s=round(left / rate),
        )
