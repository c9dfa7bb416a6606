"""CancelImage over a real socket: from any connection, at any time, and before the request."""

import asyncio

import grpc
import pytest

import etalage
from etalage.v1 import images_pb2 as pb
from server.doors.images import METHODS
from tests.server.doors.conftest import opened_door, refusal_of, rest_of

CANCELLED = grpc.StatusCode.CANCELLED


def image(product_id="patient", request_id="r-1", **fields):
    return pb.GenerateImageRequest(product_id=product_id, request_id=request_id, **fields)


def stream(**fields):
    return pb.StreamImageRequest(image=image(**fields))


def slate(*products, request_id="r-1"):
    return pb.GenerateSlateRequest(product_ids=products, request_id=request_id)


async def cancel(counter, request_id="r-1"):
    done = await counter.stub.CancelImage(pb.CancelImageRequest(request_id=request_id))
    return done.num_cancelled, done.is_remembered


async def test_a_waiting_call_is_cut_off_with_its_reason_and_no_retry(counter):
    call = counter.stub.GenerateImage(image())
    await counter.sketcher.was_started.wait()
    assert await cancel(counter) == (1, True)
    refusal = await refusal_of(call)
    assert (refusal.code, refusal.reason) == (CANCELLED, "CANCELLED")
    assert refusal.trailers["grpc-retry-pushback-ms"] == "-1"
    assert refusal.infos[0].metadata["request_id"] == refusal.trailers["x-request-id"]
    assert (counter.sketcher.num_running, counter.sketcher.num_cancelled) == (0, 1)
    counted = counter.metric("requests_total", method=METHODS[0], code="CANCELLED", source="none")
    assert counted == 1
    assert counter.metric("requests_in_flight", method=METHODS[0]) == 0
    counted = counter.metric("requests_total", method=METHODS[-1], code="OK", source="none")
    assert counted == 1


async def test_a_stream_is_cut_off_after_what_it_has_told(counter):
    call = counter.stub.StreamImage(stream())
    assert (await call.read()).HasField("accepted")
    assert await cancel(counter) == (1, True)
    refusal = await refusal_of(call)
    assert (refusal.code, refusal.reason) == (CANCELLED, "CANCELLED")
    assert counter.sketcher.num_cancelled == 1


async def test_a_stream_without_an_id_is_cancelled_by_the_one_that_it_was_told(counter):
    call = counter.stub.StreamImage(stream(request_id=""))
    told = (await call.read()).accepted.request_id
    assert await cancel(counter, told) == (1, True)
    assert (await refusal_of(call)).reason == "CANCELLED"


async def test_a_slate_is_cut_off_as_one_and_keeps_what_was_sent(counter):
    call = counter.stub.GenerateSlate(slate("patient", "chair"))
    assert (await call.read()).product_id == "chair"
    assert await cancel(counter) == (1, True)
    assert (await refusal_of(call)).reason == "CANCELLED"
    assert counter.sketcher.num_running == 0
    assert counter.metric("requests_in_flight", method=METHODS[2]) == 0


async def test_all_calls_of_an_id_are_cut_off_and_those_of_others_go_on(counter):
    calls = [counter.stub.StreamImage(stream()) for _ in range(3)]
    other = counter.stub.StreamImage(stream(request_id="r-2"))
    for call in (*calls, other):
        await call.read()
    assert await cancel(counter) == (3, True)
    assert [(await refusal_of(call)).reason for call in calls] == ["CANCELLED"] * 3
    assert counter.sketcher.num_running == 1
    counter.sketcher.go.set()
    assert (await rest_of(other))[-1].HasField("result")


async def test_a_cancel_that_comes_first_refuses_every_form_without_touching_the_pipeline(counter):
    assert await cancel(counter) == (0, True)
    for call in (
        counter.stub.GenerateImage(image("chair")),
        counter.stub.StreamImage(stream(product_id="chair")),
        counter.stub.GenerateSlate(slate("chair")),
    ):
        refusal = await refusal_of(call)
        assert (refusal.code, refusal.reason) == (CANCELLED, "CANCELLED_BEFORE")
        assert refusal.trailers["grpc-retry-pushback-ms"] == "-1"
    assert counter.sketcher.requests == []
    assert (await counter.stub.GenerateImage(image("chair", "r-2"))).images


async def test_a_tombstone_is_gone_after_its_time():
    async with opened_door(tombstone_s=0.05) as counter:
        assert await cancel(counter) == (0, True)
        await asyncio.sleep(0.1)
        assert (await counter.stub.GenerateImage(image("chair"))).images


async def test_asking_twice_is_as_good_as_once(counter):
    call = counter.stub.StreamImage(stream())
    await call.read()
    assert [await cancel(counter) for _ in range(3)] == [(1, True), (0, True), (0, True)]
    assert (await refusal_of(call)).reason == "CANCELLED"


async def test_a_finished_answer_stays_and_is_given_again(counter):
    await counter.stub.GenerateImage(image("chair"))
    assert await cancel(counter) == (0, False)
    assert (await counter.stub.GenerateImage(image("chair"))).source == pb.SOURCE_CACHE
    slots = counter.stub.GenerateSlate(slate("unknown", "chair", request_id="s-1"))
    assert len([slot async for slot in slots]) == 2
    assert await cancel(counter, "s-1") == (0, False)


@pytest.mark.parametrize("request_id", ["", "r" * 129])
async def test_a_wrong_id_is_an_invalid_argument_that_names_it(counter, request_id):
    request = pb.CancelImageRequest(request_id=request_id)
    refusal = await refusal_of(counter.stub.CancelImage(request))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    )
    assert list(refusal.violations) == ["request_id"]


async def test_bytes_that_are_no_cancel_are_an_invalid_argument(counter):
    raw = counter.channel.unary_unary("/etalage.v1.ImageService/CancelImage")
    assert (await refusal_of(raw(b"\xff\xff"))).reason == "MALFORMED_MESSAGE"
    huge = pb.CancelImageRequest(request_id="r" * 17_000_000).SerializeToString()
    refusal = await refusal_of(raw(huge))
    assert (refusal.reason, list(refusal.violations)) == ("MESSAGE_TOO_LARGE", ["request_id"])


async def test_a_full_server_can_still_be_told_to_let_go():
    async with opened_door(max_in_flight=1) as counter:
        call = counter.stub.StreamImage(stream())
        await call.read()
        assert (await refusal_of(counter.stub.GenerateImage(image("chair")))).reason == "OVERLOADED"
        assert await cancel(counter) == (1, True)
        await refusal_of(call)
        assert (await counter.stub.GenerateImage(image("chair", "r-2"))).images


async def test_a_call_that_is_left_by_its_client_as_well_is_counted_once(counter):
    call = counter.stub.StreamImage(stream())
    await call.read()
    call.cancel()
    await cancel(counter)
    async with asyncio.timeout(10):
        while counter.metric("requests_in_flight", method=METHODS[1]):
            await asyncio.sleep(0.005)
    assert counter.sketcher.num_cancelled == 1


async def test_a_storm_of_cancels_leaves_nothing_behind(counter):
    await counter.stub.GenerateImage(image("chair", ""))
    before = len(asyncio.all_tasks())
    for wave in range(5):
        ids = [f"{wave}-{number}" for number in range(10)]
        calls = [counter.stub.StreamImage(stream(request_id=each)) for each in ids]
        calls += [counter.stub.GenerateSlate(slate("chair", "patient", request_id=i)) for i in ids]
        for call in calls:
            await call.read()
        assert [await cancel(counter, each) for each in ids] == [(2, True)] * 10
        for call in calls:
            assert (await refusal_of(call)).code is CANCELLED
    async with asyncio.timeout(20):
        while counter.sketcher.num_running or len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)
    assert not counter.door._service._cancellations._running


async def test_our_client_cancels_from_another_connection_and_does_not_try_again(counter):
    address = counter.address
    async with etalage.AsyncClient(address) as one, etalage.AsyncClient(address) as other:
        waiting = asyncio.create_task(one.generate("patient", request_id="r-1"))
        await counter.sketcher.was_started.wait()
        assert await other.cancel("r-1") == etalage.Cancellation(1, True)
        with pytest.raises(etalage.Cancelled) as caught:
            await waiting
    assert (caught.value.reason, caught.value.request_id) == ("CANCELLED", "r-1")
    assert len(counter.sketcher.requests) == 1
