"""Who was erased, so that nobody brings them back: a keyed hash of the id, never the id, and when.

Rows with an event up to then are never taken in again, by nobody who writes through this package.
Later ones are, since a shopper may come back and consent anew, unless the tombstone is permanent.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import (
    URL,
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    MetaData,
    NullPool,
    String,
    Table,
    create_engine,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from features.keys import load_keys
from features.schema import TIMESTAMP, USER_PROFILE

MAX_NAMES = 500
"""Looked up by name; for more, all tombstones are read."""

metadata = MetaData()
tombstones = Table(
    "etalage_tombstones",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("time_s", Double, nullable=False),
    Column("is_permanent", Boolean, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Tombstone:
    time_s: float
    is_permanent: bool = False

    def covers(self, time_s: float) -> bool:
        """Whether a row of that time stays out."""
        return self.is_permanent or time_s <= self.time_s


class Tombstones:
    """As they stand in a database whenever they are asked for: every writer asks anew."""

    def __init__(self, database: str | URL, keys: Path) -> None:
        """`keys` is made where there is none. Raises nothing here; asking raises KeysUnusable and
        sqlalchemy.exc.SQLAlchemyError, and then nothing must be written."""
        self._url, self._keys = make_url(database), keys
        self._secret = b""

    def name(self, user_id: str) -> str:
        """32 hexadecimal digits (128 bits): who a shopper is to everybody who must forget them."""
        if not self._secret:
            key = load_keys(self._keys).lasting
            self._secret = hmac.digest(key, b"etalage tombstones", "sha256")
        return hmac.digest(self._secret, user_id.encode(), "sha256")[:16].hex()

    def find(self, user_ids: Iterable[str]) -> dict[str, Tombstone]:
        """By user id, of those who have one."""
        if not self._is_there:
            return {}
        names = {user_id: self.name(user_id) for user_id in user_ids}
        query = select(tombstones)
        if len(names) <= MAX_NAMES:
            query = query.where(tombstones.c.name.in_(names.values()))
        with _open(self._url).connect() as connection:
            rows = connection.execute(query)
            found = {row.name: Tombstone(row.time_s, row.is_permanent) for row in rows}
        return {user_id: found[name] for user_id, name in names.items() if name in found}

    def sift(self, table: pa.Table, *, at_any_time: bool = False) -> pa.Table:
        """Without the rows that stay out: of a table with user_id and event_timestamp; another one
        is nobody's. With `at_any_time` nobody who was ever erased is left."""
        key = USER_PROFILE.key
        if key not in table.column_names or not self._is_there or not len(table):
            return table
        distinct = pc.unique(table[key])
        found = self.find(user_id for user_id in distinct.to_pylist() if user_id is not None)
        if not found:
            return table
        stays = np.ones(len(table), np.bool_)
        is_theirs = pc.is_in(table[key], pa.array(list(found), pa.string()))
        for row in np.flatnonzero(is_theirs.to_numpy(zero_copy_only=False)):
            mark = found[table[key][int(row)].as_py()]
            stays[row] = not at_any_time and not mark.covers(_find_time_s(table, int(row)))
        return table.filter(pa.array(stays))

    @property
    def _is_there(self) -> bool:
        """Whoever reads makes no file."""
        if self._url.get_backend_name() != "sqlite":
            return True
        return bool(self._url.database) and Path(str(self._url.database)).exists()


def bury(connection: Connection, name: str, mark: Tombstone) -> None:
    """Writes a tombstone: the later of two counts, and one that is permanent stays so."""
    is_sqlite = connection.dialect.name == "sqlite"
    insert = sqlite.insert if is_sqlite else postgresql.insert
    told = {"name": name, "time_s": mark.time_s, "is_permanent": mark.is_permanent}
    statement = insert(tombstones).values(**told)
    before, after = tombstones.c, statement.excluded
    told = {
        "time_s": after.time_s,
        "is_permanent": before.is_permanent | after.is_permanent,
    }
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=told))


def read_mark(connection: Connection, name: str) -> Tombstone | None:
    row = connection.execute(select(tombstones).where(tombstones.c.name == name)).first()
    return None if row is None else Tombstone(row.time_s, row.is_permanent)


def _find_time_s(table: pa.Table, row: int) -> float:
    if TIMESTAMP not in table.column_names or table[TIMESTAMP][row].as_py() is None:
        return 0.0
    micros: int = table[TIMESTAMP][row].cast(pa.timestamp("us", "UTC")).value
    return micros / 1e6


@lru_cache(maxsize=8)
def _open(url: URL) -> Engine:
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    metadata.create_all(engine)
    return engine
