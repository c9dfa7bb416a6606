"""The methods over a real socket: what they answer when all is well, and in which order."""

import asyncio

import grpc
import pytest

from etalage.v1 import images_pb2 as pb
from server.core import (
    Arm,
    DeadlinePolicy,
    Degradation,
    ImageFormat,
    Mode,
    SamplerName,
    Sigmas,
    Source,
)
from server.doors.images import METHODS, ImageService
from tests.server.doors.conftest import rest_of
from tests.server.doors.sketching import STEPS


async def test_a_request_reaches_the_pipeline_whole_and_comes_back_as_an_answer(counter):
    response = await counter.stub.GenerateImage(
        pb.GenerateImageRequest(
            request_id="r-1",
            user_id="shopper-1",
            product_id="chair",
            mode=pb.MODE_RESTYLE,
            locale="pt-BR",
            num_images=2,
            seed=0,
            steps=12,
            sampler=pb.SAMPLER_HEUN,
            guidance=pb.Guidance(product_scale=0.0, strength=0.0),
            output=pb.OutputSpec(format=pb.IMAGE_FORMAT_WEBP, quality=70, longest_side=256),
            deadline_policy=pb.DEADLINE_POLICY_DEGRADE,
            experiment=pb.ExperimentOverride(arm="generic"),
            model="fast",
            sigmas=pb.SIGMAS_KARRAS,
            reuse_predictions=True,
        ),
        timeout=20,
    )
    request = counter.sketcher.requests[0]
    assert (request.product, request.user_id, request.request_id) == ("chair", "shopper-1", "r-1")
    assert (request.mode, request.locale, request.num_images) == (Mode.RESTYLE, "pt-BR", 2)
    assert (request.seed, request.steps, request.sampler) == (0, 12, SamplerName.HEUN)
    assert (request.product_scale, request.strength) == (0.0, 0.0)
    assert request.output.format is ImageFormat.WEBP
    assert (request.output.quality, request.output.longest_side) == (70, 256)
    assert request.deadline_policy is DeadlinePolicy.DEGRADE
    assert request.arm is Arm.GENERIC
    assert (request.model, request.sigmas) == ("fast", Sigmas.KARRAS)
    assert request.reuse_predictions and request.slate_rank is None
    assert [image.seed for image in response.images] == [0, 1]
    assert response.images[0].data != response.images[1].data
    assert response.images[0].mime_type == "image/png"
    assert response.source == pb.SOURCE_GENERATED
    assert response.personalization.applied
    assert response.personalization.reason == pb.Personalization.REASON_APPLIED
    assert response.personalization.feature_ages["user_profile"].ToMilliseconds() == 90_500
    assert (response.arm, response.model.name) == ("generic", "sketch")
    assert response.model.digest == "fedcba9876543210"
    assert (response.sampler, response.steps) == (pb.SAMPLER_HEUN, STEPS)
    assert [timing.stage for timing in response.timings] == ["read", "sample"]
    assert response.timings[1].duration.ToMilliseconds() == 250
    assert response.request_id == "r-1"


async def test_what_a_request_leaves_out_is_left_to_the_server(counter):
    await counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="chair"))
    request = counter.sketcher.requests[0]
    assert request.seed is request.steps is request.strength is request.product_scale is None
    assert request.arm is request.deadline_s is request.sigmas is None
    assert (request.model, request.reuse_predictions) == ("", False)
    assert (request.num_images, request.locale, request.mode) == (1, "en", Mode.PRESERVE)
    assert request.output.longest_side == 512


async def test_the_clients_deadline_becomes_a_point_on_the_monotonic_clock(counter):
    now_s = asyncio.get_running_loop().time()
    await counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="chair"), timeout=30)
    assert now_s + 20 < counter.sketcher.requests[0].deadline_s < now_s + 31


async def test_an_original_has_neither_model_nor_sampler(counter):
    override = pb.ExperimentOverride(arm="original")
    response = await counter.stub.GenerateImage(
        pb.GenerateImageRequest(product_id="chair", experiment=override)
    )
    assert response.source == pb.SOURCE_ORIGINAL
    assert not response.HasField("model")
    assert response.sampler == pb.SAMPLER_UNSPECIFIED


@pytest.mark.parametrize("degradation", Degradation)
async def test_a_result_says_what_was_given_up_and_what_it_took(counter, degradation):
    spent = {"num_forward_rows": 42, "num_shared_steps": 7}
    counter.sketcher.account = {"degradation": degradation, **spent}
    response = await counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="chair"))
    name = pb.Degradation.Name(response.degradation).removeprefix("DEGRADATION_")
    assert name == ("UNSPECIFIED" if degradation is Degradation.NONE else degradation.name)
    assert (response.num_forward_rows, response.num_shared_steps) == (42, 7)


async def test_an_image_for_the_nearest_taste_comes_from_the_cache(counter):
    nearest = {"source": Source.CACHE, "degradation": Degradation.NEAREST_TASTE}
    counter.sketcher.account = nearest
    response = await counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="chair"))
    assert response.source == pb.SOURCE_CACHE
    assert response.degradation == pb.DEGRADATION_NEAREST_TASTE


async def test_a_stream_says_accepted_then_progress_then_the_result(counter):
    counter.sketcher.pace_s = 0.01
    image = pb.GenerateImageRequest(request_id="r-1", product_id="chair")
    request = pb.StreamImageRequest(image=image, preview_side=32)
    messages = [message async for message in counter.stub.StreamImage(request)]
    kinds = [message.WhichOneof("event") for message in messages]
    assert kinds[0] == "accepted" and kinds[-1] == "result"
    assert set(kinds[1:-1]) == {"progress"}
    steps = [message.progress.step for message in messages[1:-1]]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS
    assert messages[1].progress.total_steps == STEPS
    assert messages[1].progress.preview.width == 32
    assert messages[0].accepted.request_id == "r-1"
    assert messages[-1].result.request_id == "r-1"


async def test_a_stream_without_a_request_id_is_told_one(counter):
    request = pb.StreamImageRequest(image=pb.GenerateImageRequest(product_id="chair"))
    call = counter.stub.StreamImage(request)
    messages = [message async for message in call]
    assert len(messages[0].accepted.request_id) == 32
    trailers = dict(await call.trailing_metadata())
    assert trailers["x-request-id"] == messages[0].accepted.request_id


@pytest.mark.parametrize("preview_side", [0, 16])
async def test_a_reader_who_comes_late_still_gets_the_last_progress_before_the_result(
    counter, preview_side
):
    counter.sketcher.pace_s = 0.0
    image = pb.GenerateImageRequest(product_id="patient")
    request = pb.StreamImageRequest(image=image, preview_side=preview_side)
    call = counter.stub.StreamImage(request)
    await counter.sketcher.was_started.wait()
    await asyncio.sleep(0.05)
    counter.sketcher.go.set()
    messages = [message async for message in call]
    assert messages[-1].WhichOneof("event") == "result"
    assert len(messages) <= STEPS + 2
    assert [m.progress.step for m in messages if m.HasField("progress")][-1] == STEPS


async def test_a_cancelled_stream_cancels_the_pipeline_and_is_counted_as_cancelled(counter):
    request = pb.StreamImageRequest(image=pb.GenerateImageRequest(product_id="patient"))
    call = counter.stub.StreamImage(request)
    await call.read()
    assert counter.sketcher.num_running == 1
    call.cancel()
    await _until(lambda: counter.sketcher.num_running == 0)
    assert counter.sketcher.num_cancelled == 1
    method = "etalage.v1.ImageService/StreamImage"
    await _until(
        lambda: counter.metric("requests_total", method=method, code="CANCELLED", source="none")
    )
    assert counter.metric("requests_in_flight", method=method) == 0


async def test_a_unary_call_whose_deadline_passes_frees_the_pipeline(counter):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="patient"), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await _until(lambda: counter.sketcher.num_cancelled == 1)
    await _until(
        lambda: counter.metric(
            "requests_total", method=METHODS[0], code="DEADLINE_EXCEEDED", source="none"
        )
    )


async def test_a_slate_comes_in_order_of_readiness_and_carries_ranks(counter):
    request = pb.GenerateSlateRequest(
        product_ids=["patient", "chair", "lamp"],
        template=pb.GenerateImageRequest(user_id="shopper-1", seed=5, num_images=1),
        request_id="s-1",
    )
    call = counter.stub.GenerateSlate(request)
    first, second = await call.read(), await call.read()
    assert {first.rank, second.rank} == {1, 2}
    counter.sketcher.go.set()
    last = await call.read()
    assert (last.rank, last.product_id) == (0, "patient")
    assert last.result.images[0].seed == 5
    assert last.result.request_id == "s-1"
    assert await rest_of(call) == []
    assert {request.user_id for request in counter.sketcher.requests} == {"shopper-1"}
    assert [request.slate_rank for request in counter.sketcher.requests] == [0, 1, 2]


async def test_a_bad_product_of_a_slate_is_an_error_in_its_slot_and_the_others_go_on(counter):
    products = ["chair", "unknown", "cursed", "crowded", "lamp"]
    request = pb.GenerateSlateRequest(product_ids=products)
    slots = {slot.rank: slot async for slot in counter.stub.GenerateSlate(request)}
    assert [slots[rank].WhichOneof("outcome") for rank in range(5)] == [
        "result",
        "error",
        "error",
        "error",
        "result",
    ]
    assert (slots[1].error.code, slots[1].error.reason) == (5, "PRODUCT_NOT_FOUND")
    assert (slots[2].error.code, slots[2].error.reason) == (13, "INTERNAL")
    assert "password" not in slots[2].error.message
    assert (slots[3].error.code, slots[3].error.reason) == (8, "OVERLOADED")


async def test_what_is_open_at_the_deadline_is_told_in_its_slot_and_the_slate_ends_well(counter):
    request = pb.GenerateSlateRequest(product_ids=["chair", "patient", "lamp"])
    call = counter.stub.GenerateSlate(request, timeout=0.6)
    slots = {slot.rank: slot async for slot in call}
    assert await call.code() is grpc.StatusCode.OK
    outcomes = [slots[rank].WhichOneof("outcome") for rank in range(3)]
    assert outcomes == ["result", "error", "result"]
    late = slots[1]
    assert (late.product_id, late.error.code, late.error.reason) == (
        "patient",
        grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
        "DEADLINE_EXCEEDED",
    )
    await _until(lambda: counter.sketcher.num_running == 0)


async def test_a_cancelled_slate_cancels_all_of_its_products(counter):
    request = pb.GenerateSlateRequest(product_ids=["chair", "patient", "lamp"])
    call = counter.stub.GenerateSlate(request)
    await call.read()
    await _until(lambda: counter.sketcher.num_running == 1)
    call.cancel()
    await _until(lambda: counter.sketcher.num_running == 0)


async def test_every_method_of_the_proto_is_handled():
    service = pb.DESCRIPTOR.services_by_name["ImageService"]
    assert METHODS == tuple(f"etalage.v1.ImageService/{name}" for name in service.methods_by_name)
    names = {"GenerateImage", "StreamImage", "GenerateSlate", "ExplainImage", "CancelImage"}
    assert set(service.methods_by_name) == names
    assert hasattr(ImageService, "handlers")


async def _until(is_true, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while not is_true():
            await asyncio.sleep(0.005)


async def test_an_explanation_says_what_moved_the_image_and_for_whom(counter):
    request = pb.ExplainImageRequest(
        image=pb.GenerateImageRequest(product_id="chair", user_id="shopper-1")
    )
    reply = await counter.stub.ExplainImage(request)
    assert [(each.input, each.share) for each in reply.explanation.influences] == [
        ("profile", 0.75)
    ]
    assert reply.explanation.text == "Because."
    assert (reply.explanation.shopper_map.width, reply.explanation.shopper_map.height) == (256, 85)
    assert (reply.arm, reply.model.name) == ("personalized", "sketch")
    assert reply.personalization.applied and counter.sketcher.requests[0].user_id == "shopper-1"


async def test_no_map_is_drawn_where_none_is_wanted(counter):
    request = pb.ExplainImageRequest(image=pb.GenerateImageRequest(product_id="chair"), map_side=0)
    reply = await counter.stub.ExplainImage(request)
    assert reply.explanation.shopper_map.width == 0
