"""BatchService over a socket: what it takes in, shows, refuses and frees."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from PIL import Image

from etalage.v1 import batches_pb2 as pb
from etalage.v1 import images_pb2
from server.batches.tables import metadata, open_database
from server.configuration import DrainSlice
from server.doors.batches import SERVICE
from tests.server.batches.shop import ask, batch, database_in, manifest, until
from tests.server.doors.conftest import refusal_of, rest_of
from tests.server.doors.office import Office, opened_office

ENDED = (pb.BATCH_STATE_SUCCEEDED, pb.BATCH_STATE_FAILED, pb.BATCH_STATE_CANCELLED)


@pytest.fixture
async def office(tmp_path) -> AsyncIterator[Office]:
    async with opened_office(tmp_path) as opened:
        yield opened


async def test_a_batch_is_taken_in_shown_and_ends_with_its_images(office):
    taken = await office.stub.GenerateBatch(batch("spring", "chair", "unknown"))
    assert not taken.was_known and taken.batch.batch_id == "spring"
    assert taken.batch.num_requests == 2 and not taken.batch.HasField("end_time")
    ended = await office.ended("spring")
    shown = (await office.stub.GetBatch(pb.GetBatchRequest(batch_id="spring"))).batch
    assert shown == ended
    assert ended.state == pb.BATCH_STATE_FAILED
    assert (ended.num_succeeded, ended.num_failed) == (1, 1)
    assert 0 < ended.create_time.seconds <= ended.end_time.seconds
    (failure,) = ended.failures
    assert (failure.request_id, failure.code, failure.reason) == ("2", 5, "PRODUCT_NOT_FOUND")
    assert ended.output_folder == str(office.folder / "out" / "spring")
    assert [row["name"] for row in manifest(Path(ended.output_folder))] == ["1"]


async def test_the_same_request_id_gives_the_same_batch(office):
    message = batch("spring", "chair", "lamp")
    answers = await asyncio.gather(*(office.stub.GenerateBatch(message) for _ in range(8)))
    assert sum(not answer.was_known for answer in answers) == 1
    await office.ended("spring")
    assert (await office.stub.GenerateBatch(message)).was_known
    assert len(office.sketcher.requests) == 2
    refusal = await refusal_of(office.stub.GenerateBatch(batch("spring", "vase")))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "REQUEST_ID_REUSED" and "request_id" in refusal.violations


async def test_a_batch_without_an_id_is_given_one(office):
    first, second = [(await office.stub.GenerateBatch(batch("", "chair"))).batch for _ in range(2)]
    assert first.batch_id and first.batch_id != second.batch_id
    assert first.output_folder.endswith(first.batch_id)


async def test_images_are_those_that_the_request_asks_for_and_no_earlier_ones(office):
    wanted = ask("chair", seed=3, num_images=2, locale="pt-BR", cache_policy=0)
    wanted.localization.occasion = True
    await office.stub.GenerateBatch(pb.GenerateBatchRequest(request_id="a", requests=[wanted]))
    await office.ended("a")
    (request,) = office.sketcher.requests
    assert (request.product, request.seed, request.num_images) == ("chair", 3, 2)
    assert (request.locale, request.cache_policy.value) == ("pt-BR", "bypass")
    assert request.localization.day is not None, "a crash past midnight changes no image"


async def test_watching_tells_each_change_and_ends_with_the_batch(office):
    await office.stub.GenerateBatch(batch("a", "patient", "chair"))
    watch = office.stub.WatchBatch(pb.WatchBatchRequest(batch_id="a"))
    told = [(await watch.read()).batch]
    while told[-1].num_succeeded < 1:
        told.append((await watch.read()).batch)
    assert told[-1].state == pb.BATCH_STATE_RUNNING
    office.sketcher.go.set()
    told += [message.batch for message in await rest_of(watch)]
    assert [each.num_succeeded for each in told] == sorted(each.num_succeeded for each in told)
    assert told[-1].state == pb.BATCH_STATE_SUCCEEDED
    assert all(each.state not in ENDED for each in told[:-1])
    late = await rest_of(office.stub.WatchBatch(pb.WatchBatchRequest(batch_id="a")))
    assert [message.batch for message in late] == [told[-1]]


async def test_watchers_who_go_leave_nothing_behind(office):
    await office.stub.GenerateBatch(batch("a", "patient"))
    calls = [office.stub.WatchBatch(pb.WatchBatchRequest(batch_id="a")) for _ in range(20)]
    for call in calls:
        await call.read()
    assert len(office.jobs._feeds) == 1
    for call in calls:
        call.cancel()
    await until(lambda: len(office.jobs._feeds) == 0)
    await until(lambda: office.door._batch_gate.num_in_flight == 0)


async def test_cancelling_frees_the_rows_and_may_be_repeated(office):
    await office.stub.GenerateBatch(batch("a", "chair", *["patient"] * 9))
    await until(lambda: office.sketcher.num_running == 4)
    answer = await office.stub.CancelBatch(pb.CancelBatchRequest(batch_id="a"))
    assert answer.batch.state == pb.BATCH_STATE_CANCELLED
    ended = await office.ended("a")
    assert office.sketcher.num_running == 0
    assert ended.state == pb.BATCH_STATE_CANCELLED and ended.num_succeeded <= 1
    again = await office.stub.CancelBatch(pb.CancelBatchRequest(batch_id="a"))
    assert again.batch == ended
    done = len(office.sketcher.requests)
    await asyncio.sleep(0.1)
    assert len(office.sketcher.requests) == done, "nothing more is started"


async def test_pages_go_through_all_batches_once_although_more_come(office):
    names = [f"b{number}" for number in range(5)]
    for name in names:
        await office.stub.GenerateBatch(batch(name, "chair"))
    seen, token = [], ""
    while True:
        page = await office.stub.ListBatches(pb.ListBatchesRequest(page_size=2, page_token=token))
        seen += [each.batch_id for each in page.batches]
        await office.stub.GenerateBatch(batch(f"later-{len(seen)}", "chair"))
        if not (token := page.next_page_token):
            break
    assert seen == names[::-1]
    everything = await office.stub.ListBatches(pb.ListBatchesRequest())
    assert len(everything.batches) == 8 and not everything.next_page_token


@pytest.mark.parametrize("method", ["GetBatch", "CancelBatch", "WatchBatch"])
async def test_an_unknown_batch_is_not_found_and_no_id_is_refused(office, method):
    kind = getattr(pb, f"{method}Request")
    refusal = await refusal_of(getattr(office.stub, method)(kind(batch_id="nowhere")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "BATCH_NOT_FOUND")
    assert "nowhere" in refusal.message
    refusal = await refusal_of(getattr(office.stub, method)(kind()))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT and "batch_id" in refusal.violations


async def test_every_wrong_field_is_named_by_its_path(office):
    message = batch("x" * 129, "chair", "", "lamp", folder="../up")
    message.requests[0].num_images = 99
    message.requests[0].guidance.strength = 1.5
    message.requests[1].locale = "german"
    message.requests[2].model = "unheard-of"
    message.requests[2].request_id = "1"
    refusal = await refusal_of(office.stub.GenerateBatch(message))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refusal.violations) == {
        "request_id",
        "output_folder",
        "requests[0].num_images",
        "requests[0].guidance.strength",
        "requests[1].product",
        "requests[1].locale",
        "requests[2].model",
        "requests[2].request_id",
    }
    assert not (await office.stub.ListBatches(pb.ListBatchesRequest())).batches


@pytest.mark.parametrize(
    "folder", ["/etc", "..", "a/../b", "a//b", "a/", "./a", "a b", "späti", "a\\b", "a\n", "c:"]
)
async def test_no_folder_leads_out_of_the_servers_own(office, folder):
    refusal = await refusal_of(office.stub.GenerateBatch(batch("a", "chair", folder=folder)))
    assert list(refusal.violations) == ["output_folder"]


async def test_a_request_id_that_is_no_folder_needs_one_beside_it(office):
    refusal = await refusal_of(office.stub.GenerateBatch(batch("spring 2026", "chair")))
    assert "must be set" in refusal.violations["output_folder"]
    await office.stub.GenerateBatch(batch("spring 2026", "chair", folder="spring/2026"))
    assert (await office.ended("spring 2026")).output_folder.endswith("out/spring/2026")
    taken = await refusal_of(office.stub.GenerateBatch(batch("b", "chair", folder="spring")))
    assert "batch 'spring 2026'" in taken.violations["output_folder"]


def packshot() -> bytes:
    with io.BytesIO() as file:
        Image.new("RGB", (32, 32), "red").save(file, "PNG")
        return file.getvalue()


def inline(title: str, data: bytes) -> images_pb2.GenerateImageRequest:
    product = images_pb2.InlineProduct(title=title, packshot=data)
    return images_pb2.GenerateImageRequest(inline_product=product)


async def test_inline_products_are_looked_at_when_they_come_and_travel_with_the_batch(office):
    requests = [inline("box", packshot()), inline("torn", packshot()[:40])]
    message = pb.GenerateBatchRequest(request_id="a", requests=requests)
    refusal = await refusal_of(office.stub.GenerateBatch(message))
    assert list(refusal.violations) == ["requests[1].inline_product.packshot"]
    del message.requests[1]
    await office.stub.GenerateBatch(message)
    assert (await office.ended("a")).num_succeeded == 1
    assert office.sketcher.requests[0].product.packshot == packshot()


async def test_both_forms_of_a_product_are_refused_in_each_request(office):
    good = ask("chair").SerializeToString()
    both = good + inline("box", packshot()).SerializeToString()
    parts = b"".join(_field(2, part) for part in (good, both, good))
    refusal = await refusal_of(office.send(parts))
    assert list(refusal.violations) == ["requests[1].product"]
    assert "both forms" in refusal.violations["requests[1].product"]


async def test_sizes_are_bounded(tmp_path):
    async with opened_office(tmp_path, max_message_bytes=64 * 1024) as office:
        refusal = await refusal_of(office.stub.GenerateBatch(pb.GenerateBatchRequest()))
        assert "0 requests" in refusal.violations["requests"]
        many = batch("a", *["c"] * 10_001)
        refusal = await refusal_of(office.stub.GenerateBatch(many))
        assert "10001 requests" in refusal.violations["requests"]
        large = pb.GenerateBatchRequest(requests=[inline("box", bytes(70 * 1024))])
        refusal = await refusal_of(office.stub.GenerateBatch(large))
        assert refusal.reason == "MESSAGE_TOO_LARGE"
        refusal = await refusal_of(office.send(b"\xff\xff"))
        assert refusal.reason == "MALFORMED_MESSAGE"
        listing = pb.ListBatchesRequest(page_size=1001, page_token="bm9uc2Vuc2U=")
        refusal = await refusal_of(office.stub.ListBatches(listing))
        assert set(refusal.violations) == {"page_size", "page_token"}


async def test_batches_do_not_take_the_places_of_images(tmp_path):
    async with opened_office(tmp_path, max_in_flight=2) as office:
        await office.stub.GenerateBatch(batch("a", *["patient"] * 4))
        watching = [office.stub.WatchBatch(pb.WatchBatchRequest(batch_id="a")) for _ in range(8)]
        for call in watching:
            await call.read()
        image = await office.images.GenerateImage(ask("chair"))
        assert image.images
        office.sketcher.go.set()


async def test_before_the_engine_is_warm_and_when_the_server_stops_nothing_is_taken_in(tmp_path):
    async with opened_office(tmp_path, is_open=False) as office:
        refusal = await refusal_of(office.stub.GenerateBatch(batch("a", "chair")))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STARTING")
    async with opened_office(tmp_path) as office:
        await office.stub.GenerateBatch(batch("a", "patient"))
        watch = office.stub.WatchBatch(pb.WatchBatchRequest(batch_id="a"))
        await watch.read()
        await office.door.drain(DrainSlice(lame_duck_s=0, grace_s=5))
        refusal = await refusal_of(watch)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
        refusal = await refusal_of(office.stub.GenerateBatch(batch("b", "chair")))
        assert refusal.reason == "STOPPING"


async def test_a_database_that_is_gone_is_unavailable_and_tells_nothing(office):
    engine = open_database(database_in(office.folder))
    metadata.drop_all(engine)
    engine.dispose()
    refusal = await refusal_of(office.stub.GetBatch(pb.GetBatchRequest(batch_id="a")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "BATCHES_UNAVAILABLE")
    assert "sql" not in refusal.message.lower() and str(office.folder) not in refusal.message


async def test_calls_are_counted_by_their_method(office):
    await office.stub.ListBatches(pb.ListBatchesRequest())
    labels = {"method": f"{SERVICE}/ListBatches", "code": "OK"}
    samples = [
        sample
        for family in office.metrics.registry.collect()
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    ]
    assert any(sample.value == 1 for sample in samples)


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field on the wire."""
    length, size = b"", len(data)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data
