"""Batches at work: through to their files, past failures, crashes, cancelling and full disks."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from features.records import FeaturesUnavailable
from server.batches.batch import BatchState
from server.batches.claims import Claims
from server.batches.tables import batches, open_database
from server.bulk.store import Store, StoreFailed
from server.doors.batches import submission_from_proto
from server.errors import Unavailable
from tests.server.batches.shop import (
    batch,
    database_in,
    manifest,
    submission,
    until,
    until_closed,
    working,
)
from tests.server.doors.sketching import Sketcher


@pytest.fixture
async def sketcher() -> Sketcher:
    return Sketcher()


def images_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "images").iterdir())


async def test_a_batch_becomes_images_a_manifest_and_failures(tmp_path, sketcher):
    message = batch("spring", "chair", "unknown", "lamp", "cursed", user_id="u1", num_images=2)
    message.requests[2].request_id = "hero/lamp"
    async with working(tmp_path, sketcher) as jobs:
        await jobs.submit(submission_from_proto(message))
        told = await until_closed(jobs, "spring")
    folder = tmp_path / "out" / "spring"
    assert told.output_folder == str(folder)
    assert (told.state, told.num_succeeded, told.num_failed) == (BatchState.FAILED, 2, 2)
    assert images_in(folder) == ["1~0.png", "1~1.png", "hero%2Flamp~0.png", "hero%2Flamp~1.png"]
    rows = manifest(folder)
    assert [(row["name"], row["row"], row["image"]) for row in rows] == [
        ("1", 1, 0),
        ("1", 1, 1),
        ("hero/lamp", 3, 0),
        ("hero/lamp", 3, 1),
    ]
    assert all((folder / row["path"]).exists() for row in rows)
    assert "u1" not in json.dumps(rows)
    lines = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
    assert [(line["name"], line["reason"]) for line in lines] == [
        ("2", "PRODUCT_NOT_FOUND"),
        ("4", "INTERNAL"),
    ]
    assert "password" not in lines[1]["message"]


async def test_batches_go_one_after_the_other(tmp_path, sketcher):
    async with working(tmp_path, sketcher) as jobs:
        for name in ("b", "a"):
            await jobs.submit(submission(name, "patient", "chair"))
        await until(lambda: sketcher.num_running == 1)
        assert (await jobs.get("a")).state is BatchState.PENDING
        sketcher.go.set()
        await until_closed(jobs, "a")
    assert len(sketcher.requests) == 4


async def test_requests_have_no_deadline_and_are_named_by_the_batch(tmp_path, sketcher):
    async with working(tmp_path, sketcher) as jobs:
        await jobs.submit(submission("a", "chair"))
        await until_closed(jobs, "a")
    (request,) = sketcher.requests
    assert (request.deadline_s, request.request_id) == (None, "1")


async def test_what_an_earlier_process_left_goes_on_and_nothing_is_made_twice(tmp_path, sketcher):
    products = [*["chair"] * 5, "patient", *["lamp"] * 5]
    async with working(tmp_path, sketcher, max_rows=1) as jobs:
        await jobs.submit(submission("a", *products))
        async with asyncio.timeout(20):
            while (await jobs.get("a")).num_succeeded < 5 or not sketcher.num_running:
                await asyncio.sleep(0.01)
    assert sketcher.num_cancelled == 1 and sketcher.num_running == 0
    other = Sketcher()
    other.go.set()
    async with working(tmp_path, other) as jobs:
        told = await until_closed(jobs, "a")
    assert (told.state, told.num_succeeded) == (BatchState.SUCCEEDED, 11)
    assert len(other.requests) == 6, "only what was missing"
    rows = manifest(tmp_path / "out" / "a")
    assert [row["row"] for row in rows] == list(range(1, 12))


async def test_a_batch_whose_process_died_before_its_end_was_told_is_ended(tmp_path, sketcher):
    """All was made, but the manifest was not written when it died."""
    engine = open_database(database_in(tmp_path))
    dead = Claims(engine, "dead", lease_s=0.0)
    async with working(tmp_path, sketcher) as jobs:
        await jobs.submit(submission("a", "chair"))
        await until_closed(jobs, "a")
    folder = tmp_path / "out" / "a"
    before = manifest(folder)
    with engine.begin() as connection:
        connection.execute(update(batches).values(is_closed=False, state="running", end_s=None))
    (folder / "manifest.parquet").unlink()
    assert dead.claim() is not None
    async with working(tmp_path, sketcher) as jobs:
        told = await until_closed(jobs, "a")
    engine.dispose()
    assert told.state is BatchState.SUCCEEDED and manifest(folder) == before
    assert len(sketcher.requests) == 1


async def test_cancelling_frees_what_is_under_way_and_keeps_what_was_made(tmp_path, sketcher):
    async with working(tmp_path, sketcher, max_rows=3) as jobs:
        await jobs.submit(submission("a", "chair", *["patient"] * 20))
        async with asyncio.timeout(20):
            while (await jobs.get("a")).num_succeeded < 1 or sketcher.num_running < 3:
                await asyncio.sleep(0.01)
        told = await jobs.cancel("a")
        assert told.state is BatchState.CANCELLED
        told = await until_closed(jobs, "a")
        assert sketcher.num_running == 0 and sketcher.num_cancelled == 3
        assert told.num_succeeded == 1
        assert [row["name"] for row in manifest(tmp_path / "out" / "a")] == ["1"]
        await jobs.submit(submission("b", "chair"))
        assert (await until_closed(jobs, "b")).state is BatchState.SUCCEEDED


async def test_a_full_disk_stops_the_work_and_it_goes_on_when_there_is_room(
    tmp_path, sketcher, monkeypatch
):
    monkeypatch.setattr("server.batches.worker._TROUBLE_S", 0.05)
    write, is_full = Store.write, [True]

    def write_or_fail(store: Store, path: str, data: bytes) -> None:
        if is_full[0] and "2" in path:
            raise StoreFailed("no space is left")
        write(store, path, data)

    monkeypatch.setattr(Store, "write", write_or_fail)
    async with working(tmp_path, sketcher) as jobs:
        await jobs.submit(submission("a", "chair", "lamp", "vase"))
        await until(lambda: len(sketcher.requests) >= 6)  # it has tried again
        assert not (await jobs.get("a")).is_closed
        is_full[0] = False
        told = await until_closed(jobs, "a")
    assert (told.state, told.num_succeeded) == (BatchState.SUCCEEDED, 3)
    assert len(manifest(tmp_path / "out" / "a")) == 3


async def test_while_the_engine_is_gone_nothing_is_tried_and_nothing_fails(
    tmp_path, sketcher, monkeypatch
):
    monkeypatch.setattr("server.batches.worker._IDLE_S", 0.05)
    is_healthy = [False]
    async with working(tmp_path, sketcher, is_healthy=lambda: is_healthy[0]) as jobs:
        await jobs.submit(submission("a", "chair"))
        await asyncio.sleep(0.2)
        assert (await jobs.get("a")).state is BatchState.PENDING
        is_healthy[0] = True
        assert (await until_closed(jobs, "a")).num_succeeded == 1


async def test_no_request_fails_while_features_or_a_model_are_away(tmp_path, sketcher, monkeypatch):
    monkeypatch.setattr("server.bulk.runner._LONGEST_WAIT_S", 0.01)
    away: list[Exception] = [
        FeaturesUnavailable("chair", "the store failed"),
        Unavailable("the model is being exchanged", "MODEL_LOADING"),
    ]
    generate, num_asked = sketcher.generate, 0

    async def generate_later(request):
        nonlocal num_asked
        num_asked += 1
        if num_asked <= 100:
            raise away[num_asked % 2]
        return await generate(request)

    sketcher.generate = generate_later
    async with working(tmp_path, sketcher) as jobs:
        await jobs.submit(submission("a", "chair", "lamp", "vase"))
        told = await until_closed(jobs, "a")
    assert (told.state, told.num_succeeded) == (BatchState.SUCCEEDED, 3)


async def test_two_processes_share_the_batches(tmp_path, sketcher):
    other = Sketcher()
    for each in (sketcher, other):
        each.pace_s = 0.01
    async with working(tmp_path, sketcher) as jobs, working(tmp_path, other) as others:
        for number in range(6):
            await (jobs, others)[number % 2].submit(submission(f"b{number}", "chair", "lamp"))
        for number in range(6):
            told = await until_closed(others, f"b{number}")
            assert (told.state, told.num_succeeded) == (BatchState.SUCCEEDED, 2)
    assert len(sketcher.requests) + len(other.requests) == 12


async def test_images_go_to_any_store_that_fsspec_knows(tmp_path, sketcher):
    async with working(tmp_path, sketcher, root="memory://shop/batches/") as jobs:
        await jobs.submit(submission("a", "chair", folder="spring/week-1"))
        told = await until_closed(jobs, "a")
    assert told.output_folder == "memory://shop/batches/spring/week-1"
    with fsspec.open(f"{told.output_folder}/manifest.parquet") as file:
        (row,) = pq.read_table(file).to_pylist()
    with fsspec.open(f"{told.output_folder}/{row['path']}") as file:
        assert hashlib.sha256(file.read()).hexdigest() == row["sha256"]
