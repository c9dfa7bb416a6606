"""How long it takes to erase one shopper of a million, with ten million events, from SQLite.

Within the second that is promised: the tombstone, online rows, events, arms and batches, so that no
request and no report reads anything of them any more. Files that are written anew, and the search
for remnants in the online store's file, come after it and are told apart. Everybody's rows are made
by SQL, those of the shoppers who are erased by the code that a server runs.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from benchmarks.measurement import Report
from features.definitions import to_key
from features.materialize import push, to_rows
from features.offline import to_vectors, write_part
from features.quiet_feast import serialize_entity_key
from features.schema import USER_PROFILE, USER_RECENT, View
from features.store import Store
from server.commands.privacy import Archive, open_places
from server.configuration import Configuration, FeaturesSlice
from server.database import writing
from server.experiments.event_log.keeping import keep
from server.experiments.events import Event, EventKind, Exposure
from server.privacy.eraser import Eraser
from tests.features.stores import WIDTH, make_store, profile, recent, table

TARGET_S = 1.0
NUM_THEIRS = 10
"""Events of each shopper, as everybody has."""


@dataclass(frozen=True, slots=True)
class Size:
    shoppers: int
    events: int
    erased: int


FULL = Size(1_000_000, 10_000_000, 5)
QUICK = Size(10_000, 100_000, 3)


def measure(report: Report, is_quick: bool) -> None:
    """All of it."""
    size = QUICK if is_quick else FULL
    with TemporaryDirectory(prefix="erasure-") as folder:
        home = Path(folder)
        fill_features(make_store(home), size)
        archive = Archive(Configuration(features=FeaturesSlice(home=home)))
        fill_events(archive, size)
        os.sync()  # what was written a moment ago is no part of what an erasure takes
        named = [f"erased-{number:02d}" for number in range(size.erased)]
        for user_id in named:
            live(archive, user_id)
        quick, whole = zip(*asyncio.run(erase_all(archive, named)), strict=True)
        asyncio.run(archive.close())
    report.add("erasure.seconds", quick, "s", target=TARGET_S, better="lower")
    report.add("erasure.with_files_seconds", whole, "s", better="lower")


async def erase_all(archive: Archive, user_ids: list[str]) -> list[tuple[float, float]]:
    """Seconds until nothing can be read any more, and until files are written anew."""
    async with open_places(archive) as places:
        eraser = Eraser(archive.register, places, archive.names)
        taken = []
        for user_id in user_ids:
            start_s = time.perf_counter()
            proof = await eraser.erase(user_id)
            quick_s = time.perf_counter() - start_s
            (removed,) = [s.num_removed for s in proof.stores if s.store == "exposures"]
            assert removed == NUM_THEIRS, proof
            proof = await eraser.erase(user_id, is_patient=True)
            assert proof.is_complete, proof
            taken.append((quick_s, time.perf_counter() - start_s))
        return taken


def live(archive: Archive, user_id: str) -> None:
    """A shopper as the server would keep them."""
    now = datetime.now(UTC)
    for view, values in ((USER_PROFILE, profile()), (USER_RECENT, recent())):
        rows = table(view, [{"user_id": user_id, "event_timestamp": now, **values}])
        push(archive.store, view, rows, WIDTH)
    _, unit = archive.names(user_id)
    with writing(archive.events) as connection:
        keep(connection, list(make_events(user_id, unit)), time.time())


def make_events(user_id: str, unit: str) -> Iterator[Event]:
    now_s = time.time()
    for number in range(NUM_THEIRS):
        name = f"{user_id}-{number}"
        exposure = Exposure(
            name, now_s, unit, "personalized", f"product-{number}", 7, look=("warm", "kitchen")
        )
        yield Event(f"{name}-r", EventKind.RENDER, now_s, exposure)


def fill_features(store: Store, size: Size) -> None:
    """Online and in one file for each view."""
    for view, values in ((USER_PROFILE, profile()), (USER_RECENT, recent())):
        fill_online(store, view, values, size.shoppers)
        columns = {
            "user_id": [f"shopper-{n:08d}" for n in range(size.shoppers)],
            "event_timestamp": [datetime.now(UTC)] * size.shoppers,
        }
        for name, kind in view.columns:
            if name in view.vectors:
                length = view.length(name, WIDTH)
                drawn = np.random.default_rng(0).random((size.shoppers, length), np.float32)
                columns[name] = to_vectors(drawn)
            else:
                columns[name] = pa.array([values[name]] * size.shoppers, kind)
        part = pa.table(columns, schema=view.arrow)
        write_part(store.config.offline_folder(view), "everybody", part)


def fill_online(store: Store, view: View, values: dict[str, object], num: int) -> None:
    now = datetime.now(UTC)
    rows = table(view, [{"user_id": "", "event_timestamp": now, **values}])
    ((_, protos, _, _),) = to_rows(view, rows)
    told = [(name, proto.SerializeToString()) for name, proto in sorted(protos.items())]
    stamp = now.replace(tzinfo=None).isoformat(" ")

    def list_rows() -> Iterator[tuple[bytes, str, bytes, str]]:
        for number in range(num):
            key = serialize_entity_key(
                to_key(view.key, f"shopper-{number:08d}"), entity_key_serialization_version=3
            )
            for name, value in told:
                yield key, name, value, stamp

    insert = (
        f'INSERT INTO "{store.config.project}_{view.name}" '
        "(entity_key, feature_name, value, event_ts) VALUES (?, ?, ?, ?)"
    )
    with closing(sqlite3.connect(store.config.folder / "online.db")) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(insert, list_rows())


def fill_events(archive: Archive, size: Size) -> None:
    """Ten events each, copies of one exposure and one outcome but for ids and shopper."""
    exposure = Exposure("template", 1.0, "nobody", "personalized", "mug", 7, look=("warm",))
    told = [
        Event("template-r", EventKind.RENDER, 1.0, exposure),
        Event("template-c", EventKind.CLICK, 1.0, exposure),
    ]
    with writing(archive.events) as connection:
        keep(connection, told, time.time())
    file = archive.events.url.database
    assert file is not None
    num = {"etalage_exposures": 7 * size.events // 10, "etalage_outcomes": 3 * size.events // 10}
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("PRAGMA synchronous = OFF")
        for name, count in num.items():
            index = f"{name}_by_unit"
            raw.execute(f"DROP INDEX {index}")
            copy_rows(raw, name, count, size.shoppers)
            raw.execute(f"CREATE INDEX {index} ON {name} (unit)")


def copy_rows(connection: sqlite3.Connection, name: str, count: int, num_shoppers: int) -> None:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")][1:]
    made = {
        "event_id": f"printf('{name[8]}%012x', n)",
        "exposure_id": "printf('%032x', n)",
        "unit": f"printf('unit-%017d', (n * 2654435761) % {num_shoppers})",
    }
    values = ", ".join(made.get(column, column) for column in columns)
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT ?)"
    connection.execute(
        f"{numbers} INSERT INTO {name} ({', '.join(columns)}) "
        f"SELECT {values} FROM numbers, (SELECT * FROM {name} WHERE unit = 'nobody')",
        (count,),
    )
    connection.execute(
        f"{numbers} INSERT INTO etalage_event_ids SELECT CAST({made['event_id']} AS BLOB) "
        "FROM numbers",
        (count,),
    )
