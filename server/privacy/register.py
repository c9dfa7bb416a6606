"""Erasures, written down with their tombstone before they begin, so that none is lost.

The shopper's id stands here from then until all is gone, as nothing could be found without it;
then it is overwritten. Methods block, may be called from any thread, and raise
sqlalchemy.exc.SQLAlchemyError where the database does not answer.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    BigInteger,
    Boolean,
    Column,
    Double,
    Engine,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

from features import tombstones
from server.database import close, is_sqlite, move_log, open_engine, writing
from server.privacy.proof import Case, Visit

metadata = MetaData()
erasures = Table(
    "etalage_erasures",
    metadata,
    Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("erasure_id", String(32), nullable=False, unique=True),
    Column("subject", Text),  # the shopper's id, until it is done
    Column("name", String(32), nullable=False, index=True),
    Column("unit", String(32), nullable=False),
    Column("is_permanent", Boolean, nullable=False),
    Column("started_s", Double, nullable=False),
    Column("touched_s", Double, nullable=False),
    Column("finished_s", Double),
    Column("swept_s", Double),
    Column("visits", JSON, nullable=False),
    sqlite_autoincrement=True,
)


def open_register(url: str | URL) -> Engine:
    """Creates what is missing. Raises SQLAlchemyError, ImportError, OSError."""
    engine = open_engine(url)
    with writing(engine) as connection:
        for each in (tombstones.metadata, metadata):
            each.create_all(connection)
    return engine


class Register:
    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine, self._clock = engine, clock

    async def close(self) -> None:
        await close(self._engine)

    def begin(self, user_id: str, name: str, unit: str, is_permanent: bool) -> Case:
        """The tombstone stands when this returns. One that is under way is gone on with."""
        now_s = self._clock()
        with writing(self._engine) as connection:
            tombstones.bury(connection, name, tombstones.Tombstone(now_s, is_permanent))
            here = erasures.c.name == name, erasures.c.finished_s.is_(None)
            row = connection.execute(select(erasures).where(*here).limit(1)).first()
            if row is not None:
                told = {"is_permanent": row.is_permanent or is_permanent, "touched_s": now_s}
                key = row.key
                connection.execute(update(erasures).where(erasures.c.key == key).values(**told))
            else:
                values = {
                    "erasure_id": uuid.uuid4().hex,
                    "subject": user_id,
                    "name": name,
                    "unit": unit,
                    "is_permanent": is_permanent,
                    "started_s": now_s,
                    "touched_s": now_s,
                    "visits": {},
                }
                result = connection.execute(insert(erasures).values(**values))
                assert result.inserted_primary_key is not None
                key = result.inserted_primary_key[0]
            query = select(erasures).where(erasures.c.key == key)
            return _to_case(connection.execute(query).one())

    def save(self, case: Case, is_done: bool) -> Case:
        """How far it is; once it is done the id goes, out of the database's log as well."""
        now_s = self._clock()
        told: dict[str, Any] = {"visits": {n: asdict(visit) for n, visit in case.visits.items()}}
        told["touched_s"] = now_s
        if is_done:
            told |= {"subject": None, "finished_s": now_s}
            case = replace(case, user_id="", finished_s=now_s)
        with writing(self._engine) as connection:
            connection.execute(update(erasures).where(erasures.c.key == case.key).values(**told))
        if is_done and is_sqlite(self._engine):
            move_log(self._engine, "TRUNCATE")
        return case

    def list_unfinished(self, before_s: float) -> list[Case]:
        """Those that nobody has worked on since then."""
        return self._list(erasures.c.finished_s.is_(None), erasures.c.touched_s <= before_s)

    def list_unswept(self, before_s: float) -> list[Case]:
        """Those done by then that nobody has looked at again."""
        return self._list(erasures.c.swept_s.is_(None), erasures.c.finished_s <= before_s)

    def list_after(self, key: int, since_s: float = 0.0) -> list[Case]:
        return self._list(erasures.c.key > key, erasures.c.started_s >= since_s)

    def sweep(self, case: Case) -> None:
        here = erasures.c.key == case.key
        with writing(self._engine) as connection:
            connection.execute(update(erasures).where(here).values(swept_s=self._clock()))

    def find_tombstone(self, name: str) -> tombstones.Tombstone | None:
        with self._engine.connect() as connection:
            return tombstones.read_mark(connection, name)

    def _list(self, *here: Any) -> list[Case]:
        query = select(erasures).where(*here).order_by(erasures.c.key)
        with self._engine.connect() as connection:
            return [_to_case(row) for row in connection.execute(query)]


def _to_case(row: Row[Any]) -> Case:
    return Case(
        row.key,
        row.erasure_id,
        row.subject or "",
        row.name,
        row.unit,
        row.is_permanent,
        row.started_s,
        row.finished_s,
        {name: Visit(**visit) for name, visit in row.visits.items()},
    )
