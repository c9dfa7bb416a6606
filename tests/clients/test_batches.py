"""Batches through the client, from a real server on a loopback socket."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import grpc
import pytest

from etalage import EtalageError, InvalidArgument, NotFound
from etalage.batches import AsyncBatches, Batch, Batches, Item
from tests.server.doors.office import opened_office


@pytest.fixture
async def office(tmp_path):
    async with opened_office(tmp_path) as opened:
        yield opened


@pytest.fixture
async def batches(office):
    return AsyncBatches(office.channel)


async def test_a_batch_is_submitted_watched_and_read(office, batches):
    items = [Item("chair", user="u1", seed=5, request_id="hero"), "lamp", "unknown"]
    batch = await batches.submit(items, request_id="spring", output_folder="2026/spring")
    assert (batch.batch_id, batch.num_requests, batch.num_left) == ("spring", 3, 3)
    told = [each async for each in batches.watch("spring")]
    last = told[-1]
    assert last.is_ended and not any(each.is_ended for each in told[:-1])
    assert (last.state, last.num_succeeded, last.num_failed, last.num_left) == ("failed", 2, 1, 0)
    (failure,) = last.failures
    assert (failure.request_id, failure.code) == ("3", "NOT_FOUND")
    assert failure.reason == "PRODUCT_NOT_FOUND" and "unknown" in failure.message
    now = datetime.now(timezone.utc)  # noqa: UP017
    assert last.ended is not None and now - timedelta(minutes=1) < last.created <= last.ended
    assert last.output_folder.endswith("/2026/spring")
    assert await batches.get("spring") == last
    assert [request.request_id for request in office.sketcher.requests] == ["hero", "2", "3"]
    assert (office.sketcher.requests[0].user_id, office.sketcher.requests[0].seed) == ("u1", 5)


async def test_the_same_id_twice_is_one_batch(office, batches):
    first = await batches.submit(["chair"], request_id="spring")
    assert (await batches.submit(["chair"], request_id="spring")).batch_id == first.batch_id
    with pytest.raises(InvalidArgument) as caught:
        await batches.submit(["lamp"], request_id="spring")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    made_up = [(await batches.submit(["chair"])).batch_id for _ in range(2)]
    assert made_up[0] != made_up[1]


async def test_all_batches_are_listed_over_pages(office, batches):
    for number in range(5):
        await batches.submit(["chair"], request_id=f"b{number}")
    listed = [batch.batch_id async for batch in batches.list(page_size=2)]
    assert listed == [f"b{number}" for number in range(4, -1, -1)]


async def test_a_cancelled_batch_ends_for_whoever_waits(office, batches):
    await batches.submit(["patient"], request_id="a")
    waiting = asyncio.create_task(batches.wait("a", timeout_s=20))
    await asyncio.wait_for(office.sketcher.was_started.wait(), 10)
    assert (await batches.cancel("a")).state == "cancelled"
    assert (await waiting).state == "cancelled"


async def test_errors_are_those_of_the_client(office, batches):
    with pytest.raises(NotFound) as missing:
        await batches.get("nowhere")
    assert missing.value.reason == "BATCH_NOT_FOUND"
    assert missing.value.metadata["batch"] == "nowhere"
    with pytest.raises(NotFound):
        await batches.wait("nowhere")
    with pytest.raises(InvalidArgument) as wrong:
        await batches.submit([Item("chair", num_images=99)], output_folder="..")
    named = {violation.field for violation in wrong.value.violations}
    assert named == {"requests[0].num_images", "output_folder"}
    with pytest.raises(TypeError):
        await batches.submit("chair")


async def test_a_wait_ends_with_its_time(office, batches):
    await batches.submit(["patient"], request_id="a")
    with pytest.raises(EtalageError) as caught:
        await batches.wait("a", timeout_s=0.3)
    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_a_watch_outlives_the_server(tmp_path):
    async with opened_office(tmp_path) as office:
        port = office.port
        batches = AsyncBatches(office.channel)
        await batches.submit(["chair", "patient"], request_id="a")
        channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_reconnect_backoff_ms", 200)]
        )
        waiting = asyncio.create_task(AsyncBatches(channel).wait("a", timeout_s=30))
        await asyncio.wait_for(office.sketcher.was_started.wait(), 10)
    assert not waiting.done()
    async with opened_office(tmp_path, port=port) as office:
        office.sketcher.go.set()
        last = await waiting
    await channel.close(grace=None)
    assert (last.state, last.num_succeeded) == ("succeeded", 2)


async def test_threads_have_the_same_calls(office):
    def work() -> tuple[Batch, list[str], Batch]:
        with grpc.insecure_channel(f"127.0.0.1:{office.port}") as channel:
            batches = Batches(channel)
            batches.submit(["chair"], request_id="a")
            ended = batches.wait("a", timeout_s=20)
            batches.submit(["patient"], request_id="b")
            cancelled = batches.cancel("b")
            assert batches.get("a") == ended
            return ended, [batch.batch_id for batch in batches.list(1)], cancelled

    ended, listed, cancelled = await asyncio.to_thread(work)
    assert (ended.state, listed, cancelled.state) == ("succeeded", ["b", "a"], "cancelled")
