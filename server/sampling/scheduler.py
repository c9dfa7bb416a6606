"""Who steps next: earliest deadline first, with aging, packed into one batch of one key.

Plain Python on purpose: it decides, the engine does. Time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Schedulable(Protocol):
    """What the scheduler knows of a row."""

    @property
    def key(self) -> Hashable:
        """Rows of one key may share a forward: model, latent shape, dtype; nothing else."""
        ...

    @property
    def num_forward_rows(self) -> int:
        """Rows of the forward that one tick of this row takes: its guidance terms."""
        ...

    @property
    def submitted_s(self) -> float: ...

    @property
    def deadline_s(self) -> float | None: ...


R = TypeVar("R", bound=Schedulable)


class Scheduler(Generic[R]):
    """Holds the rows that want to step, and packs the most urgent into batches.

    A row's urgency is its deadline, but never later than `patience_s` after it came: whoever waits
    longest becomes the most urgent in the end, so nothing starves.
    """

    def __init__(self, max_forward_rows: int, patience_s: float = 30.0) -> None:
        self.max_forward_rows = max_forward_rows
        self.patience_s = patience_s
        self._rows: dict[int, R] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_forward_rows(self) -> int:
        return sum(row.num_forward_rows for row in self._rows.values())

    def add(self, row: R) -> None:
        self._rows[id(row)] = row

    def remove(self, row: R) -> None:
        self._rows.pop(id(row), None)

    def rows(self) -> tuple[R, ...]:
        return tuple(self._rows.values())

    def urgency(self, row: R) -> float:
        latest = row.submitted_s + self.patience_s
        return latest if row.deadline_s is None else min(row.deadline_s, latest)

    def next_batch(self) -> list[R]:
        """The most urgent row, and by urgency all others of its key that fit beside it."""
        batch: list[R] = []
        room = self.max_forward_rows
        for row in sorted(self._rows.values(), key=self.urgency):
            if batch and row.key != batch[0].key:
                continue
            if row.num_forward_rows > room:
                continue
            batch.append(row)
            room -= row.num_forward_rows
            if not room:
                break
        return batch
