"""How events become rows: each once, by its event_id, whoever sends it again at the same time.

An event_id is claimed in `event_ids`, and who claimed it keeps the row. An exposure is kept once,
whatever event tells of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Table

from server.database import number_lock
from server.experiments.event_log.tables import event_ids, exposures, outcomes
from server.experiments.events import Event, EventKind

WRITING = number_lock("writing of events")
"""Shared by all who write, so that an export can wait for those who hold keys already."""

write_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

Events = Collection[Event]


def keep(connection: Connection, events: Iterable[Event], now_s: float) -> set[str]:
    """The ids of those that are new, within a transaction of `server.database.writing`. Of several
    with one id the first counts."""
    firsts: dict[str, Event] = {}
    for event in events:
        firsts.setdefault(event.event_id, event)
    dialect = _Sqlite if connection.dialect.name == "sqlite" else _Postgresql
    statements = dialect(connection)
    claimed = set(statements.claim(firsts.keys()))
    new = [event for event in firsts.values() if event.event_id in claimed]
    told = [event for event in new if event.kind is not EventKind.RENDER]
    rendered: dict[str, Event] = {}
    for event in new:
        if event.kind is EventKind.RENDER:
            rendered.setdefault(event.exposure.exposure_id, event)
    kept = statements.expose(rendered.values(), now_s) if rendered else set()
    if told:
        statements.tell(told, now_s)
    return kept | {event.event_id for event in told}


class _Sqlite:
    """A row after the other: there is no way to another machine that would be saved."""

    def __init__(self, connection: Connection) -> None:
        self._cursor: Any = connection.connection.cursor()  # SQLAlchemy's takes twice as long

    def claim(self, ids: Collection[str]) -> list[str]:
        run = self._cursor.execute
        return [each for each in ids if run(_CLAIM_ONE, (each.encode(),)).rowcount]

    def expose(self, events: Events, now_s: float) -> set[str]:
        run = self._cursor.execute
        return {
            event.event_id
            for event in events
            if run(_EXPOSE_ONE, _to_exposure(event, now_s, write_json)).rowcount
        }

    def tell(self, events: Events, now_s: float) -> None:
        self._cursor.executemany(_TELL_ONE, [_to_outcome(event, now_s) for event in events])


class _Postgresql:
    """All rows at once, in an order that is the same for everybody: nobody waits in a circle."""

    def __init__(self, connection: Connection) -> None:
        self._run = connection.exec_driver_sql
        self._run(_BEGIN, (WRITING,))

    def claim(self, ids: Collection[str]) -> list[str]:
        claimed = self._run(_CLAIM, ([each.encode() for each in ids],))
        return [bytes(each).decode() for (each,) in claimed]

    def expose(self, events: Events, now_s: float) -> set[str]:
        rows = [dict(zip(EXPOSURE, _to_exposure(event, now_s), strict=True)) for event in events]
        return {event_id for (event_id,) in self._run(_EXPOSE, (write_json(rows),))}

    def tell(self, events: Events, now_s: float) -> None:
        rows = [dict(zip(OUTCOME, _to_outcome(event, now_s), strict=True)) for event in events]
        self._run(_TELL, (write_json(rows),))


def _to_exposure(
    event: Event, now_s: float, write: Callable[[Any], Any] = lambda value: value
) -> tuple[Any, ...]:
    """A row of `EXPOSURE`; `write` is what its lists go through."""
    it = event.exposure
    return (
        event.event_id,
        event.time_s,
        now_s,
        it.exposure_id,
        it.minted_s,
        it.unit,
        it.shows,
        it.product_id,
        it.seed - (it.seed >> 63 << 64),  # as 64 bits with a sign
        it.experiment,
        it.arm,
        it.propensity,
        it.is_override,
        it.is_anonymous,
        it.rank,
        it.locale,
        it.is_known,
        write(it.interests),
        write(it.look),
        it.reason,
        it.source,
        it.degradation,
        it.model,
        it.model_digest,
        it.mode,
        it.strength,
        it.steps,
        it.feature_fingerprint,
        write([{"view": view, "age_s": age_s} for view, age_s in it.feature_ages_s]),
        it.image_key,
        it.latency_s,
        write(it.context),
    )


def _to_outcome(event: Event, now_s: float) -> tuple[Any, ...]:
    """A row of `OUTCOME`."""
    it = event.exposure
    return (
        event.event_id,
        it.exposure_id,
        event.kind.value,
        event.time_s,
        event.value,
        now_s,
        it.minted_s,
        it.unit,
        it.shows,
        it.product_id,
        it.experiment,
        it.arm,
        it.propensity,
        it.is_override,
        it.is_anonymous,
    )


def _list_columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if column is not table.c.key]


def _insert_one(table: Table, columns: Collection[str]) -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})"


def _insert_all(table: Table, columns: Collection[str]) -> str:
    names = ", ".join(columns)
    rows = f"json_populate_recordset(NULL::{table.name}, %s::json)"
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {rows} ORDER BY exposure_id"


EXPOSURE, OUTCOME = _list_columns(exposures), _list_columns(outcomes)

_CLAIM_ONE = f"{_insert_one(event_ids, ['event_id'])} ON CONFLICT DO NOTHING"
_EXPOSE_ONE = f"{_insert_one(exposures, EXPOSURE)} ON CONFLICT (exposure_id) DO NOTHING"
_TELL_ONE = _insert_one(outcomes, OUTCOME)

_BEGIN = """
SELECT pg_advisory_xact_lock_shared(%s),
  CASE current_setting('synchronous_commit')
    WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END
"""
_CLAIM = f"""
INSERT INTO {event_ids.name} (event_id) SELECT unnest(%s::bytea[]) AS event_id ORDER BY event_id
ON CONFLICT DO NOTHING RETURNING event_id
"""
_EXPOSE = (
    f"{_insert_all(exposures, EXPOSURE)} ON CONFLICT (exposure_id) DO NOTHING RETURNING event_id"
)
_TELL = _insert_all(outcomes, OUTCOME)
