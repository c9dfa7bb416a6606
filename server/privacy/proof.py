"""What an erasure did, store by store. Nothing of it names the shopper."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Visit:
    """What came of asking one place: how many rows or entries went of which store. Where
    `finished_s` is None it is still to be done, and `error` says what kept it from it."""

    counts: Mapping[str, int] = field(default_factory=dict)
    finished_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ErasedStore:
    store: str
    num_removed: int = 0
    finished_s: float | None = None
    error: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One erasure. `user_id` is empty once it is done; `name` is the tombstone's, `unit` who the
    shopper was to the event log. Times are Unix's; `visits` are by place."""

    key: int
    erasure_id: str
    user_id: str = field(repr=False)
    name: str
    unit: str
    is_permanent: bool
    started_s: float
    finished_s: float | None = None
    visits: Mapping[str, Visit] = field(default_factory=dict)

    def has_left(self, place: str) -> bool:
        """Whether all is gone from there."""
        return self.visits.get(place, Visit()).finished_s is not None

    def visited(self, place: str, visit: Visit) -> Case:
        return replace(self, visits={**self.visits, place: visit})


@dataclass(frozen=True, slots=True)
class Proof:
    erasure_id: str
    tombstone_id: str
    is_permanent: bool
    started_s: float
    finished_s: float | None
    stores: tuple[ErasedStore, ...]

    @property
    def is_complete(self) -> bool:
        return self.finished_s is not None

    @property
    def is_failing(self) -> bool:
        """Whether a store could not be asked: it will be again."""
        return any(store.error for store in self.stores)

    def to_json(self) -> str:
        told = asdict(self)
        told |= {"is_complete": self.is_complete, **_tell_times(told)}
        told["stores"] = [{**each, **_tell_times(each)} for each in told["stores"]]
        return json.dumps(told, indent=2)


def prove(case: Case, places: Mapping[str, str]) -> Proof:
    """`places` are all that are asked, with a note on each."""
    stores: list[ErasedStore] = []
    for place, note in places.items():
        visit = case.visits.get(place, Visit())
        if visit.finished_s is None or not visit.counts:
            stores.append(ErasedStore(place, 0, visit.finished_s, visit.error, note))
        stores += [
            ErasedStore(store, count, visit.finished_s, note=note)
            for store, count in visit.counts.items()
            if visit.finished_s is not None
        ]
    return Proof(
        case.erasure_id,
        case.name,
        case.is_permanent,
        case.started_s,
        case.finished_s,
        tuple(stores),
    )


def _tell_times(told: Mapping[str, object]) -> dict[str, str | None]:
    """For people, beside the numbers."""
    return {
        name.removesuffix("_s"): None
        if value is None
        else datetime.fromtimestamp(value, UTC).isoformat()
        for name, value in told.items()
        if name.endswith("_s") and (value is None or isinstance(value, float))
    }
