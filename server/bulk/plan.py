"""What a run has to do, found before it starts: all that is wrong is told at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from server.bulk.journal import Finished
from server.bulk.record import Task
from server.bulk.shard import Shard

_MAX_KINDS = 50
_MAX_ROWS = 5


class RequestsInvalid(ValueError):
    """The file can't be worked on as it is: a line for each kind of fault, with its rows."""


class Named(Task, Protocol):
    """A task that may ask for a model and a brand kit by name."""

    @property
    def model(self) -> str: ...

    @property
    def brand_kit(self) -> str: ...


class Problems:
    """What is wrong, once for all rows that it is wrong with."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[int]] = {}
        self._num_rows: dict[tuple[str, str], int] = {}
        self._num_more = 0

    def add(self, row: int, column: str, description: str) -> None:
        kind = column, description
        if kind not in self._rows and len(self._rows) == _MAX_KINDS:
            self._num_more += 1
            return
        rows = self._rows.setdefault(kind, [])
        self._num_rows[kind] = self._num_rows.get(kind, 0) + 1
        if len(rows) < _MAX_ROWS:
            rows.append(row)

    def raise_any(self) -> None:
        """Raises RequestsInvalid where there are any."""
        if self._rows:
            raise RequestsInvalid("\n".join(self._lines()))

    def _lines(self) -> Iterator[str]:
        for (column, description), rows in self._rows.items():
            count = self._num_rows[column, description]
            told = f"row{'s' if count > 1 else ''} {', '.join(map(str, rows))}"
            if count > len(rows):
                told += f" and {count - len(rows)} more"
            yield f"{told}: {f'{column}: ' if column else ''}{description}"
        if self._num_more:
            yield f"and {self._num_more} faults of further kinds"


@dataclass
class Plan:
    """`models` and `brand_kits` are those that are asked for, with the first row that does."""

    num_rows: int = 0
    num_finished: int = 0
    models: dict[str, int] = field(default_factory=dict)
    brand_kits: dict[str, int] = field(default_factory=dict)

    @property
    def num_left(self) -> int:
        return self.num_rows - self.num_finished

    def check_names(self, models: Iterable[str], brand_kits: Iterable[str]) -> None:
        """Raises RequestsInvalid where one is asked for that there is not."""
        problems = Problems()
        _check_names(problems, "model", self.models, list(models))
        _check_names(problems, "brand_kit", self.brand_kits, list(brand_kits))
        problems.raise_any()


def _check_names(
    problems: Problems, column: str, asked: Mapping[str, int], known: list[str]
) -> None:
    for name, row in asked.items():
        if name not in known:
            told = ", ".join(known) or "there is none"
            problems.add(row, column, f"{name[:40]!r} is not known: {told}")


N = TypeVar("N", bound=Named)
Read = Callable[[Problems], Iterable[N]]


def make_plan(read: Read[N], finished: Finished, shard: Shard) -> Plan:
    """Reads all rows once. Raises RequestsInvalid, also where rows that are finished were others or
    are none of these: what lies there was made for another file."""
    plan, problems = Plan(), Problems()
    numbers: dict[bytes, int] = {}
    num_known = 0
    for row in read(problems):
        key = hashlib.blake2b(row.name.encode(), digest_size=16).digest()
        if (first := numbers.setdefault(key, row.number)) != row.number:
            problems.add(row.number, "request_id", f"{row.name!r} is that of row {first}")
            continue
        before = finished.find(row.name)
        num_known += before is not None
        if before not in (None, row.digest):
            problems.add(row.number, "", "was made already, but of other content")
        if not shard.has(row.name):
            continue
        plan.num_rows += 1
        plan.num_finished += before is not None
        _note(plan, row)
    problems.raise_any()
    if num_known < len(finished):
        text = f"{len(finished) - num_known} of the rows made already are not in this file"
        raise RequestsInvalid(text)
    return plan


def list_left(read: Read[N], finished: Finished, shard: Shard) -> Iterator[N]:
    """Rows of the shard that are not finished. Raises RequestsInvalid where the file has changed
    since it was planned."""
    problems = Problems()
    for row in read(problems):
        if shard.has(row.name) and finished.find(row.name) is None:
            yield row
    problems.raise_any()


def _note(plan: Plan, row: Named) -> None:
    if row.model:
        plan.models.setdefault(row.model, row.number)
    if row.brand_kit:
        plan.brand_kits.setdefault(row.brand_kit, row.number)
