"""What a run leaves behind."""

import io
import json

import pyarrow.parquet as pq
import pytest

from server.bulk.journal import open_journal
from server.bulk.manifest import SCHEMA, write_outcome
from server.bulk.record import Failure, Record
from server.bulk.shard import Shard
from server.bulk.store import Store

FAILURE = Failure("NOT_FOUND", "PRODUCT_NOT_FOUND", "no product 'é'")
ACCOUNT = {"product": "chair", "reason": "applied", "steps": 4, "feature_ages_s": {"profile": 1.5}}


def made(name, number=1, num_images=1):
    images = [
        {"path": f"images/{name}~{image}.png", "seed": 2**64 - 1, "look": ["mint"]}
        for image in range(num_images)
    ]
    return Record(name, number, "d", ACCOUNT, images)


def failed(name, number=1, failure=FAILURE):
    return Record(name, number, "d", failure=failure)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def journal(store, *records, shard=None):
    opened = open_journal(store, shard)
    opened.append(records)
    opened.close()


def manifest(store, name="manifest.parquet"):
    return pq.read_table(io.BytesIO(store.read(name)))


def test_the_manifest_has_a_row_for_each_image_in_the_order_of_the_rows(store):
    journal(store, made("c", 3), made("a", 1, num_images=2), failed("b", 2))
    outcome = write_outcome(store, Shard())
    table = manifest(store)
    assert (outcome.num_finished, outcome.num_images, outcome.num_failed) == (2, 3, 1)
    assert table.schema == SCHEMA
    rows = table.to_pylist()
    assert [(row["name"], row["row"], row["image"]) for row in rows] == [
        ("a", 1, 0),
        ("a", 1, 1),
        ("c", 3, 0),
    ]
    assert rows[0]["seed"] == 2**64 - 1 and rows[0]["feature_ages_s"] == [("profile", 1.5)]
    assert rows[0]["look"] == ["mint"] and rows[0]["max_difference"] is None
    assert json.loads(store.read("failures.jsonl")) == {
        "name": "b",
        "row": 2,
        "code": "NOT_FOUND",
        "reason": "PRODUCT_NOT_FOUND",
        "message": "no product 'é'",
    }


def test_packshots_in_place_of_creatives_are_counted_and_those_that_were_asked_for_are_not(store):
    images = [{"path": "a~0.png", "is_original": True}, {"path": "a~1.png", "is_original": False}]
    arms = ("personalized", "generic", "original")
    for number, arm in enumerate(arms, 1):
        journal(store, Record(arm, number, "d", {"arm": arm}, images))
    journal(store, made("of an earlier version", 4))
    outcome = write_outcome(store, Shard())
    assert (outcome.num_images, outcome.num_originals) == (7, 2)
    assert manifest(store).column("is_original").to_pylist() == [True, False] * 3 + [None]


def test_no_column_could_hold_a_shopper_s_id():
    assert not [name for name in SCHEMA.names if "user" in name or "embedding" in name]


def test_what_was_made_twice_is_told_once_and_what_failed_at_first_is_no_failure(store):
    again = Failure("UNAVAILABLE", "R", "later")
    journal(store, failed("a"), made("b", 2), failed("c", 3), failed("d", 4), shard=Shard(1, 2))
    journal(store, made("a"), made("b", 2), failed("c", 3, again), shard=Shard(2, 2))
    outcome = write_outcome(store, Shard())
    assert [row["name"] for row in manifest(store).to_pylist()] == ["a", "b"]
    assert (outcome.num_finished, outcome.num_failed) == (2, 2)
    told = [json.loads(line) for line in store.read("failures.jsonl").splitlines()]
    assert [(each["name"], each["message"]) for each in told] == [
        ("c", "later"),
        ("d", "no product 'é'"),
    ]


def test_a_shard_has_a_manifest_of_its_own_and_together_they_are_the_whole(store):
    journal(store, *(made(str(number), number) for number in range(1, 30)), failed("30", 30))
    names = []
    for number in (1, 2):
        outcome = write_outcome(store, Shard(number, 2))
        assert outcome.manifest == f"manifest-{number}-of-2.parquet"
        names += [row["name"] for row in manifest(store, outcome.manifest).to_pylist()]
    write_outcome(store, Shard())
    assert sorted(names) == sorted(row["name"] for row in manifest(store).to_pylist())
    assert len(names) == 29


def test_many_rows_come_in_batches_and_none_at_all_leave_an_empty_table(store):
    assert write_outcome(store, Shard()).num_images == 0
    assert manifest(store).schema == SCHEMA and store.read("failures.jsonl") == b""
    journal(store, *(made(str(number), number) for number in range(3000, 0, -1)))
    write_outcome(store, Shard())
    assert manifest(store).column("row").to_pylist() == list(range(1, 3001))
