"""What a run leaves beside its images: the journal as parquet, and what failed as JSONL."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from server.bulk.journal import read_journal
from server.bulk.record import Record
from server.bulk.shard import Shard
from server.bulk.store import Store
from server.core import Arm

_BATCH = 1024
_TRY = pa.struct([("seed", pa.uint64()), ("reasons", pa.list_(pa.string()))])

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("row", pa.int64()),
        ("image", pa.int32()),
        ("product", pa.string()),
        ("path", pa.string()),
        ("seed", pa.uint64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mime_type", pa.string()),
        ("sha256", pa.string()),
        ("source", pa.string()),
        ("arm", pa.string()),
        ("reason", pa.string()),
        ("feature_service", pa.string()),
        ("feature_fingerprint", pa.string()),
        ("feature_ages_s", pa.map_(pa.string(), pa.float64())),
        ("model", pa.string()),
        ("model_digest", pa.string()),
        ("sampler", pa.string()),
        ("steps", pa.int32()),
        ("style", pa.string()),
        ("degradation", pa.string()),
        ("max_difference", pa.int32()),
        ("growth_percent", pa.float64()),
        ("mask_uncertainty", pa.float64()),
        ("mask_source", pa.string()),
        ("sharpness", pa.float64()),
        ("look", pa.list_(pa.string())),
        ("is_original", pa.bool_()),
        ("layout", pa.string()),
        ("title_language", pa.string()),
        ("warnings", pa.list_(pa.string())),
        ("tries", pa.list_(_TRY)),
        ("explanation", pa.string()),
    ]
)
"""One row for each image; no shopper's id among them: `name` joins it to the request. `layout` is
JSON, as a request takes it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What there is at the end of a run, by all runs; `num_originals` of the images are packshots
    in place of creatives."""

    num_finished: int
    num_images: int
    num_originals: int
    num_failed: int
    manifest: str
    failures: str


def write_outcome(store: Store, shard: Shard) -> Outcome:
    """Writes the manifest and the failures of a shard, in the order of the rows. Raises
    StoreFailed."""
    manifest, failures = f"manifest{shard.suffix}.parquet", f"failures{shard.suffix}.jsonl"
    failed: dict[bytes, Record] = {}
    finished: set[bytes] = set()
    batches, rows, num_originals = [], list[Mapping[str, Any]](), 0
    for record in _read_once(store, shard, finished, failed):
        rows += _list_rows(record)
        num_originals += _count_originals(record)
        if len(rows) >= _BATCH:
            batches.append(pa.RecordBatch.from_pylist(rows, SCHEMA))
            rows = []
    batches.append(pa.RecordBatch.from_pylist(rows, SCHEMA))
    table = pa.Table.from_batches(batches, SCHEMA).sort_by([("row", "ascending")])
    file = io.BytesIO()
    pq.write_table(table, file)
    store.write(manifest, file.getvalue())
    store.write(failures, b"".join(_write_failures(failed)))
    return Outcome(len(finished), len(table), num_originals, len(failed), manifest, failures)


def _read_once(
    store: Store, shard: Shard, finished: set[bytes], failed: dict[bytes, Record]
) -> Iterator[Record]:
    """Each row that was finished, by whichever run; what never was stays in `failed`."""
    for record in read_journal(store):
        key = hashlib.blake2b(record.name.encode(), digest_size=16).digest()
        if key in finished or not shard.has(record.name):
            continue
        if record.is_finished:
            finished.add(key)
            failed.pop(key, None)
            yield record
        else:
            failed[key] = record


def _list_rows(record: Record) -> Iterator[dict[str, Any]]:
    for number, image in enumerate(record.images):
        row: dict[str, Any] = {"name": record.name, "row": record.number, "image": number}
        row |= {**record.account, **image}
        row["feature_ages_s"] = list(record.account.get("feature_ages_s", {}).items())
        yield row


def _count_originals(record: Record) -> int:
    is_asked = record.account.get("arm") == Arm.ORIGINAL.value
    return 0 if is_asked else sum(bool(image.get("is_original")) for image in record.images)


def _write_failures(failed: Mapping[bytes, Record]) -> Iterator[bytes]:
    for record in sorted(failed.values(), key=lambda record: record.number):
        assert record.failure is not None
        told = {"name": record.name, "row": record.number, **asdict(record.failure)}
        yield json.dumps(told, ensure_ascii=False).encode() + b"\n"
