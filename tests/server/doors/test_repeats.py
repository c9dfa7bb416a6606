"""The promise of `request_id`, over a real socket."""

import asyncio

import grpc

from etalage.v1 import images_pb2 as pb
from tests.server.doors.conftest import refusal_of, rest_of


def image(product_id="chair", request_id="r-1", **fields):
    return pb.GenerateImageRequest(product_id=product_id, request_id=request_id, **fields)


async def test_a_repeat_gets_the_first_answer_without_sampling_and_says_so(counter):
    first = await counter.stub.GenerateImage(image())
    again = await counter.stub.GenerateImage(image())
    assert len(counter.sketcher.requests) == 1
    assert (first.source, again.source) == (pb.SOURCE_GENERATED, pb.SOURCE_CACHE)
    assert again.images == first.images
    assert again.request_id == "r-1"
    method = "etalage.v1.ImageService/GenerateImage"
    for source in ("generated", "cache"):
        assert counter.metric("requests_total", method=method, code="OK", source=source) == 1
    assert counter.metric("personalization_total", reason="anonymous") == 1


async def test_requests_without_an_id_are_never_repeats(counter):
    for _ in range(2):
        response = await counter.stub.GenerateImage(image(request_id=""))
        assert response.source == pb.SOURCE_GENERATED
    assert len(counter.sketcher.requests) == 2


async def test_a_stream_repeats_what_a_unary_call_was_answered(counter):
    first = await counter.stub.GenerateImage(image())
    stream = counter.stub.StreamImage(pb.StreamImageRequest(image=image(), preview_side=32))
    messages = [message async for message in stream]
    assert [message.WhichOneof("event") for message in messages] == ["accepted", "result"]
    assert messages[1].result.images == first.images
    assert messages[1].result.source == pb.SOURCE_CACHE


async def test_the_same_id_with_other_content_is_an_invalid_argument(counter):
    await counter.stub.GenerateImage(image())
    for call in (
        counter.stub.GenerateImage(image(user_id="someone else")),
        counter.stub.StreamImage(pb.StreamImageRequest(image=image(seed=0))),
    ):
        refusal = await refusal_of(call)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.reason == "REQUEST_ID_REUSED"
        assert list(refusal.violations) == ["request_id"]
    assert len(counter.sketcher.requests) == 1


async def test_a_failure_is_not_remembered(counter):
    await refusal_of(counter.stub.GenerateImage(image("crowded")))
    await refusal_of(counter.stub.GenerateImage(image("crowded")))
    assert len(counter.sketcher.requests) == 2
    assert (await counter.stub.GenerateImage(image())).source == pb.SOURCE_GENERATED


async def test_concurrent_repeats_share_one_sampling_and_survive_the_leaving_of_the_first(counter):
    request = pb.StreamImageRequest(image=image("patient"))
    first = counter.stub.StreamImage(request)
    assert (await first.read()).HasField("accepted")
    second = counter.stub.StreamImage(request)
    assert (await second.read()).HasField("accepted")
    first.cancel()
    await asyncio.sleep(0.05)
    assert counter.sketcher.num_running == 1
    counter.sketcher.go.set()
    last = (await rest_of(second))[-1]
    assert last.result.source == pb.SOURCE_CACHE
    assert len(counter.sketcher.requests) == 1


async def test_the_sampling_stops_when_all_who_share_it_have_left(counter):
    request = pb.StreamImageRequest(image=image("patient"))
    calls = [counter.stub.StreamImage(request) for _ in range(3)]
    for call in calls:
        await call.read()
    for call in calls:
        call.cancel()
    async with asyncio.timeout(10):
        while counter.sketcher.num_running:
            await asyncio.sleep(0.005)
    assert counter.sketcher.num_cancelled == 1


async def test_a_repeated_slate_samples_only_what_failed_before(counter):
    def slate(*products):
        return pb.GenerateSlateRequest(product_ids=products, request_id="s-1")

    for _ in range(2):
        slots = [s async for s in counter.stub.GenerateSlate(slate("chair", "crowded", "lamp"))]
        assert {slot.rank: slot.WhichOneof("outcome") for slot in slots} == {
            0: "result",
            1: "error",
            2: "result",
        }
    asked = sorted(request.product for request in counter.sketcher.requests)
    assert asked == ["chair", "crowded", "crowded", "lamp"]
    refusal = await refusal_of(counter.stub.GenerateSlate(slate("chair", "lamp")))
    assert refusal.reason == "REQUEST_ID_REUSED"


async def test_a_slate_and_an_image_may_have_the_same_id(counter):
    await counter.stub.GenerateImage(image())
    slate = pb.GenerateSlateRequest(product_ids=["chair"], request_id="r-1")
    slots = [slot async for slot in counter.stub.GenerateSlate(slate)]
    assert slots[0].result.source == pb.SOURCE_GENERATED
