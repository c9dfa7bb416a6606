"""Offline to online, and straight to online: checked, in chunks, the newest event wins.

Feast's own `materialize` and `push` let an older event overwrite a newer one on sqlite, load all
of the time range at once, close the view to readers meanwhile and store vectors of any width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from features.definitions import to_key
from features.erasure import erase_online
from features.offline import Flaw, sift, split_rows, write_part
from features.offline_jobs import offline_job
from features.quiet_feast import FloatList, StringList, Value
from features.schema import TEXT, TEXTS, TIMESTAMP, VECTOR, View
from features.store import Store

CHUNK_ROWS = 512
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of the rows: written, passed over for a newer one or since their shopper was
    erased, or left out with a reason."""

    num_written: int = 0
    num_older: int = 0
    flaws: tuple[Flaw, ...] = ()
    num_erased: int = 0

    def __add__(self, other: WriteReport) -> WriteReport:
        return WriteReport(
            self.num_written + other.num_written,
            self.num_older + other.num_older,
            self.flaws + other.flaws,
            self.num_erased + other.num_erased,
        )


def materialize(
    store: Store,
    view: View,
    width: int,
    *,
    start: datetime = BEGINNING,
    end: datetime | None = None,
    window: timedelta | None = None,
    progress: bool = False,
) -> WriteReport:
    """Writes each entity's newest offline row in [start, end] to the online store.

    A `window` bounds memory: the offline store is asked for that much time at once.
    """
    end = end or datetime.now(UTC)
    report = WriteReport()
    windows = list(split_time(start, end, window or end - start))
    for since, until in tqdm(windows, f"materialize {view.name}", disable=not progress):
        report += write_online(store, view, read_offline(store, view, since, until), width)
    store.feast.registry.apply_materialization(
        store.feast.get_feature_view(view.name), store.feast.project, start, end
    )
    return report


def push(
    store: Store, view: View, table: pa.Table, width: int, *, keep: bool = True
) -> WriteReport:
    """Writes rows to the online store at once and, to `keep` them, to the offline store as well.

    On sqlite rows are visible to readers in other processes when this returns.
    """
    report = write_online(store, view, table, width)
    if keep and not store.config.offline_store:
        keep_offline(store, view, sift(view, table, width)[0])
    return report


def keep_offline(store: Store, view: View, good: pa.Table) -> None:
    """Adds a part of rows that were sifted to the files of a view."""
    good = store.tombstones.sift(good)
    if not len(good):
        return
    part = write_part(store.config.offline_folder(view), f"push-{uuid4().hex}", good)
    left = store.tombstones.sift(good)
    if not len(left):
        part.unlink(missing_ok=True)
    elif len(left) < len(good):  # somebody was erased while this was written
        write_part(part.parent, part.stem, left)


def write_online(store: Store, view: View, table: pa.Table, width: int) -> WriteReport:
    good, flaws = sift(view, table, width)
    report = WriteReport(flaws=tuple(flaws))
    definition = store.view(view)
    for chunk in split_rows(keep_newest(view, good), CHUNK_ROWS):
        alive = store.tombstones.sift(chunk)
        rows = list(to_rows(view, alive))
        newer = _leave_out_older(store, view, definition, rows)
        if newer:
            store.online.online_write_batch(store.feast.config, definition, newer, None)
            _take_back(store, view, alive)
        report += WriteReport(len(newer), len(rows) - len(newer), (), len(chunk) - len(alive))
    return report


def _take_back(store: Store, view: View, written: pa.Table) -> None:
    """Who was erased while this was written had their tombstone before their rows went."""
    left = store.tombstones.sift(written)
    if len(left) < len(written):
        keys = set(written[view.key].to_pylist()) - set(left[view.key].to_pylist())
        for key in keys:
            erase_online(store, key)


def read_offline(
    store: Store,
    view: View,
    start: datetime,
    end: datetime,
    features: Sequence[str] | None = None,
) -> pa.Table:
    """All rows of a view with events in [start, end], through Feast's offline store: all features,
    or those that are named."""
    folder = store.config.offline_folder(view)
    if not store.config.offline_store and not any(folder.glob("*.parquet")):
        return view.arrow.empty_table()
    offline = store.feast._get_provider().offline_store
    with offline_job():
        job = offline.pull_all_from_table_or_query(
            config=store.feast.config,
            data_source=store.view(view).batch_source,
            join_key_columns=[view.key],
            feature_name_columns=view.features if features is None else list(features),
            timestamp_field=TIMESTAMP,
            start_date=start,
            end_date=end,
        )
        return store.tombstones.sift(job.to_arrow())


def keep_newest(view: View, table: pa.Table) -> pa.Table:
    """One row for each key: that of the latest event, and of these the last one."""
    order = pc.sort_indices(table, [(TIMESTAMP, "ascending")])  # stable
    keys = table.column(view.key).take(order).to_pylist()
    newest = dict(zip(keys, order.to_pylist(), strict=True))
    return table.take(pa.array(sorted(newest.values()), pa.int64()))


def split_time(
    start: datetime, end: datetime, window: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        until = min(start + window, end)
        yield start, until
        start = until


def to_rows(view: View, table: pa.Table) -> Iterator[tuple[Any, dict[str, Any], datetime, None]]:
    """As Feast's online stores take them: key, values, event time, no creation time."""
    keys = table.column(view.key).to_pylist()
    times = table.column(TIMESTAMP).to_pylist()
    columns = {name: table.column(name).to_pylist() for name in view.features}
    kinds = dict(view.columns)
    for row, key in enumerate(keys):
        values = {name: to_value(kinds[name], column[row]) for name, column in columns.items()}
        yield to_key(view.key, key), values, times[row], None


def to_value(kind: pa.DataType, value: Any) -> Any:
    """A Feast value; null is one that is not set."""
    if value is None:
        return Value()
    if kind == VECTOR:
        return Value(float_list_val=FloatList(val=value))
    if kind == TEXTS:
        return Value(string_list_val=StringList(val=value))
    if kind == TEXT:
        return Value(string_val=value)
    return Value(bool_val=value) if kind == pa.bool_() else Value(int64_val=value)


def _leave_out_older(
    store: Store,
    view: View,
    definition: Any,
    rows: list[tuple[Any, dict[str, Any], datetime, None]],
) -> list[tuple[Any, dict[str, Any], datetime, None]]:
    keys = [key for key, *_ in rows]
    stored = store.online.online_read(store.feast.config, definition, keys, view.features[-1:])
    # Online stores keep whole seconds (sqlite) or more: compare what all of them keep.
    return [
        row
        for row, (time, _) in zip(rows, stored, strict=True)
        if time is None or int(row[2].timestamp()) >= int(time.timestamp())
    ]
