"""A shopper's rows, taken out of the online store and out of files: Feast has no call for that.

Online rows are found by the key that Feast makes of the id. SQLite overwrites what it deletes, and
its log is emptied; `wipe_remnants` looks for what is left in the file's unused places all the same.
Files are written anew without the rows.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.quiet_feast import Value, compute_table_id, serialize_entity_key
from features.remnants import holds_any
from features.sources import OpenStore

BUSY_TIMEOUT_S = 30.0
_TRUNCATE_S = 1.0  # how long readers may keep SQLite's log from being emptied


@dataclass(frozen=True, slots=True)
class ErasedRows:
    """How many rows went (a feature is a row), and bytes by which their remnants can be told."""

    num_rows: int
    traces: tuple[bytes, ...] = ()


class RemnantsLeft(RuntimeError):
    """Bytes of what was deleted are still in the file."""


def erase_online(store: OpenStore, user_id: str) -> ErasedRows:
    """All rows of all views that are the shopper's alone. Raises what the store's driver raises.

    A store of another kind than SQLite, Redis and PostgreSQL has no known way to delete: there
    every value is overwritten by one that is not set, and the key stays.
    """
    key = store.shopper_key
    if not key.can_be(user_id):
        return ErasedRows(0)
    listed = (*store.feast.list_feature_views(), *store.feast.list_stream_feature_views())
    views = [view for view in listed if view.join_keys == [key.name]]
    erase = _ERASERS.get(type(store.online).__name__, _overwrite)
    name = key.of(user_id)
    return erase(store, views, name, _serialize(store, name))


def wipe_remnants(store: OpenStore, user_id: str, traces: Sequence[bytes] = ()) -> int:
    """Whether SQLite's file had to be written anew, 1 or 0, as bytes were left in unused places.

    That takes seconds for each gigabyte, in which others can read and not write. What looks the
    same afterwards is somebody else's. Raises RemnantsLeft where readers kept the old pages, or a
    row came back; sqlite3.Error.
    """
    if type(store.online).__name__ != "SqliteOnlineStore":
        return 0
    key = store.shopper_key
    if not key.can_be(user_id):
        return 0
    path, name = _find_file(store), _serialize(store, key.of(user_id))
    if not holds_any(path, {name, *traces}):
        return 0
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("VACUUM")
        is_empty = empty_log(connection)
    if not is_empty or holds_any(path, {name}):
        raise RemnantsLeft(path.name)
    return 1


def erase_files(folder: Path, column: str, value: str) -> int:
    """Rows of that value, out of every parquet file below; how many."""
    return sum(erase_rows(path, column, value) for path in sorted(folder.rglob("*.parquet")))


def erase_rows(path: Path, column: str, value: str) -> int:
    """Writes one file anew, whole or not at all, a row group at a time; how many rows went. One
    that others replaced meanwhile is looked at again."""
    while True:
        try:
            before = path.stat()
            num_rows = _count(path, column, value)
            if not num_rows:
                return 0
            unfinished = path.with_name(f".{path.name}.unfinished")
            _copy_without(path, unfinished, column, value)
            now = path.stat()
        except FileNotFoundError:  # a part that was replaced by another
            return 0
        if (before.st_mtime_ns, before.st_ino) == (now.st_mtime_ns, now.st_ino):
            os.replace(unfinished, path)
            return num_rows
        unfinished.unlink()


def empty_log(connection: sqlite3.Connection) -> bool:
    """Moves SQLite's log into its file and cuts it off; False where readers keep it."""
    give_up_s = time.monotonic() + _TRUNCATE_S
    while True:
        is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy or time.monotonic() > give_up_s:
            return not is_busy
        time.sleep(0.02)


def _serialize(store: OpenStore, key: Any) -> bytes:
    version = store.feast.config.entity_key_serialization_version
    serialized: bytes = serialize_entity_key(key, entity_key_serialization_version=version)
    return serialized


def _name_tables(store: OpenStore, views: Sequence[Any]) -> list[str]:
    config = store.feast.config
    versioned = config.registry.enable_online_feature_view_versioning
    return [compute_table_id(config.project, view, versioned) for view in views]


def _find_file(store: OpenStore) -> Path:
    return Path(store.online._get_db_path(store.feast.config))


def _erase_from_sqlite(
    store: OpenStore, views: Sequence[Any], key: Any, serialized: bytes
) -> ErasedRows:
    count, traces = 0, [serialized]
    with closing(sqlite3.connect(_find_file(store), timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        for table in _name_tables(store, views):
            where = f'FROM "{table}" WHERE entity_key = ?'
            with connection:
                found = connection.execute(f"SELECT value {where}", (serialized,)).fetchall()
                count += connection.execute(f"DELETE {where}", (serialized,)).rowcount
            traces += filter(None, (_find_trace(value) for (value,) in found))
        empty_log(connection)
    return ErasedRows(count, tuple(traces))


def _find_trace(data: bytes) -> bytes:
    """The first numbers of a vector: enough to tell it from any other. Zeros tell nothing."""
    value = Value.FromString(data)
    kind, numbers = pa.float32(), value.float_list_val.val
    if value.WhichOneof("val") == "double_list_val":
        kind, numbers = pa.float64(), value.double_list_val.val
    start = pa.array(list(numbers[:8]), kind).buffers()[1].to_pybytes()[:32]
    return start if len(numbers) >= 4 and any(start) else b""


def _erase_from_redis(
    store: OpenStore, views: Sequence[Any], key: Any, serialized: bytes
) -> ErasedRows:
    """All views of one entity are one hash."""
    config = store.feast.config
    client = store.online._get_client(config.online_store)
    name = serialized + config.project.encode()
    with client.pipeline(transaction=True) as pipe:
        pipe.hlen(name)
        pipe.delete(name)
        num_fields, _ = pipe.execute()
    return ErasedRows(int(num_fields))


def _erase_from_postgresql(
    store: OpenStore, views: Sequence[Any], key: Any, serialized: bytes
) -> ErasedRows:
    count = 0
    with store.online._get_conn(store.feast.config) as connection:
        try:
            with connection.cursor() as cursor:
                for table in _name_tables(store, views):
                    quoted = '"' + table.replace('"', '""') + '"'
                    cursor.execute(f"DELETE FROM {quoted} WHERE entity_key = %s", (serialized,))
                    count += cursor.rowcount
            connection.commit()
        except BaseException:
            store.online._conn = None  # it may be broken: the next try connects anew
            connection.close()
            raise
    return ErasedRows(count)


def _overwrite(store: OpenStore, views: Sequence[Any], key: Any, serialized: bytes) -> ErasedRows:
    count = 0
    for view in views:
        names = [feature.name for feature in view.features]
        ((when, values),) = store.online.online_read(store.feast.config, view, [key], [*names])
        told = [value for value in (values or {}).values() if value.WhichOneof("val")]
        if when is not None and told:
            row = (key, {name: Value() for name in names}, datetime.now(UTC), None)
            store.online.online_write_batch(store.feast.config, view, [row], None)
            count += len(told)
    return ErasedRows(count)


Erase = Callable[[OpenStore, Sequence[Any], Any, bytes], ErasedRows]
_ERASERS: Mapping[str, Erase] = {
    "SqliteOnlineStore": _erase_from_sqlite,
    "RedisOnlineStore": _erase_from_redis,
    "PostgreSQLOnlineStore": _erase_from_postgresql,
}


def _count(path: Path, column: str, value: str) -> int:
    if column not in pq.read_schema(path).names:
        return 0
    found = pq.read_table(path, columns=[column], filters=[(column, "==", value)])
    return len(found)


def _copy_without(path: Path, to: Path, column: str, value: str) -> None:
    with pq.ParquetFile(path) as file:
        schema = _spell_out(file.schema_arrow)
        with pq.ParquetWriter(to, schema) as writer:
            for number in range(file.num_row_groups):
                group = file.read_row_group(number).cast(schema)
                stays = pc.fill_null(pc.not_equal(group[column], value), True)
                writer.write_table(group.filter(stays))


def _spell_out(schema: pa.Schema) -> pa.Schema:
    """Without dictionaries: one would still have whom no row names."""
    for index, field in enumerate(schema):
        if pa.types.is_dictionary(field.type):
            schema = schema.set(index, field.with_type(field.type.value_type))
    return schema
