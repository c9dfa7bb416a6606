"""Every error that the API promises, as a client reads it from a real socket."""

import math

import grpc
import pytest

from etalage.v1 import images_pb2 as pb
from server.doors.port import MAX_TRANSPORT_BYTES
from tests.server.doors import pictures
from tests.server.doors.conftest import opened_door, refusal_of, rest_of
from tests.server.doors.sketching import SECRET

GOOD = pictures.encode("PNG")


def inline(packshot, control_map=b"", mask=b""):
    chair = pb.InlineProduct(title="Chair", packshot=packshot, control_map=control_map, mask=mask)
    return {"inline_product": chair}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "product"),
        (inline(b"no image at all"), "inline_product.packshot"),
        (inline(GOOD[: len(GOOD) // 2]), "inline_product.packshot"),
        (inline(pictures.encode("GIF")), "inline_product.packshot"),
        (inline(pictures.animate("WEBP")), "inline_product.packshot"),
        (inline(pictures.png_that_claims(5000, 4001)), "inline_product.packshot"),
        (inline(pictures.png_that_claims(60_000, 60_000)), "inline_product.packshot"),
        (inline(pictures.png_with_a_text_bomb()), "inline_product.packshot"),
        (inline(GOOD, b"no image at all"), "inline_product.control_map"),
        (inline(GOOD, pictures.png_that_claims(60_000, 60_000)), "inline_product.control_map"),
        (inline(GOOD, mask=b"no image at all"), "inline_product.mask"),
        (inline(GOOD, mask=pictures.encode("PNG", size=(9, 9), mode="L")), "inline_product.mask"),
        ({"product_id": "chair", "style": 300 * "x"}, "style"),
        ({"product_id": "chair", "output": pb.OutputSpec(aspect_ratio=9)}, "output.aspect_ratio"),
        ({"product_id": "chair", "num_images": 0}, "num_images"),
        ({"product_id": "chair", "num_images": 99}, "num_images"),
        ({"product_id": "chair", "steps": 0}, "steps"),
        ({"product_id": "chair", "guidance": pb.Guidance(strength=1.5)}, "guidance.strength"),
        ({"product_id": "chair", "guidance": pb.Guidance(strength=math.nan)}, "guidance.strength"),
        ({"product_id": "chair", "locale": "not a locale"}, "locale"),
        ({"product_id": "chair", "model": "best"}, "model"),
        ({"product_id": "chair", "sigmas": 9}, "sigmas"),
    ],
)
async def test_bad_input_is_an_invalid_argument_that_names_the_field(counter, fields, field):
    image = pb.GenerateImageRequest(**fields)
    refusal = await refusal_of(counter.stub.GenerateImage(image))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "INVALID_REQUEST"
    assert list(refusal.violations) == [field]
    assert refusal.violations[field] in refusal.message
    refusal = await refusal_of(counter.stub.StreamImage(pb.StreamImageRequest(image=image)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "INVALID_REQUEST"
    assert list(refusal.violations) == [f"image.{field}"]
    assert counter.sketcher.requests == []


async def test_all_wrong_fields_come_in_one_answer(counter):
    image = pb.GenerateImageRequest(steps=0, num_images=99, locale="?", **inline(b"junk"))
    refusal = await refusal_of(counter.stub.GenerateImage(image))
    assert set(refusal.violations) == {"steps", "num_images", "locale", "inline_product.packshot"}
    assert refusal.infos[0].metadata["num_violations"] == "4"


async def test_a_good_packshot_reaches_the_pipeline_with_its_bytes(counter):
    product = pb.InlineProduct(title="Chair", packshot=GOOD, attributes={"colour": "red"})
    await counter.stub.GenerateImage(pb.GenerateImageRequest(inline_product=product))
    seen = counter.sketcher.requests[0].product
    assert (seen.title, seen.packshot, seen.attributes) == ("Chair", GOOD, {"colour": "red"})


async def test_both_forms_of_a_product_on_the_wire_are_refused(counter):
    by_id = pb.GenerateImageRequest(product_id="chair").SerializeToString()
    both = pb.GenerateImageRequest(**inline(GOOD)).SerializeToString() + by_id
    raw = counter.channel.unary_unary("/etalage.v1.ImageService/GenerateImage")
    refusal = await refusal_of(raw(both))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refusal.violations) == ["product"]


async def test_bytes_that_are_no_message_are_an_invalid_argument(counter):
    raw = counter.channel.unary_unary("/etalage.v1.ImageService/GenerateImage")
    refusal = await refusal_of(raw(b"\xff\xff\xff"))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "MALFORMED_MESSAGE"


async def test_a_message_over_the_limit_is_an_invalid_argument_up_to_the_transports_own():
    async with opened_door(max_message_bytes=100_000) as counter:
        for num_bytes in (100_000, 5_000_000, MAX_TRANSPORT_BYTES - 1000):
            image = pb.GenerateImageRequest(**inline(bytes(num_bytes)))
            refusal = await refusal_of(counter.stub.GenerateImage(image))
            assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
            assert refusal.reason == "MESSAGE_TOO_LARGE"
            assert list(refusal.violations) == ["inline_product.packshot"]
        image = pb.GenerateImageRequest(**inline(bytes(MAX_TRANSPORT_BYTES)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await counter.stub.GenerateImage(image)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="chair"))


async def test_a_slate_with_bad_input_is_refused_as_a_whole(counter):
    template = pb.GenerateImageRequest(steps=0, product_id="chair")
    request = pb.GenerateSlateRequest(product_ids=["a", "a"], template=template)
    refusal = await refusal_of(counter.stub.GenerateSlate(request))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refusal.violations) == {"product_ids[1]", "template.steps", "template.product_id"}


async def test_an_unknown_model_is_answered_with_the_names_of_those_that_there_are(counter):
    image = pb.GenerateImageRequest(model="m" * 300)
    template = pb.GenerateSlateRequest(product_ids=["chair"], template=image)
    for call, field in (
        (counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="a", model="x")), "model"),
        (counter.stub.GenerateSlate(template), "template.model"),
    ):
        refusal = await refusal_of(call)
        assert list(refusal.violations) == [field]
        assert "quality, fast" in refusal.violations[field]
    assert counter.sketcher.requests == []
    for model in ("", "quality", "fast"):
        await counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="chair", model=model))
    assert [request.model for request in counter.sketcher.requests] == ["", "quality", "fast"]


@pytest.mark.parametrize(
    ("product_id", "code", "reason"),
    [
        ("unknown", grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND"),
        ("unknown-to-feast", grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND"),
        ("crowded", grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
        ("unread", grpc.StatusCode.UNAVAILABLE, "FEATURES_UNAVAILABLE"),
        ("late", grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        ("torn", grpc.StatusCode.INTERNAL, "SAMPLING_FAILED"),
        ("cursed", grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
async def test_each_error_of_the_pipeline_has_its_code_and_one_reason(
    counter, product_id, code, reason
):
    image = pb.GenerateImageRequest(product_id=product_id)
    for call in (
        counter.stub.GenerateImage(image),
        counter.stub.StreamImage(pb.StreamImageRequest(image=image)),
    ):
        refusal = await refusal_of(call)
        assert (refusal.code, refusal.reason) == (code, reason)
        assert SECRET not in str(refusal)
        assert refusal.infos[0].metadata["request_id"] == refusal.trailers["x-request-id"]
    method = "etalage.v1.ImageService/GenerateImage"
    counted = counter.metric("requests_total", method=method, code=code.name, source="none")
    assert counted == 1


async def test_an_unknown_product_is_named(counter):
    for product_id in ("unknown", "unknown-to-feast"):
        request = pb.GenerateImageRequest(product_id=product_id)
        refusal = await refusal_of(counter.stub.GenerateImage(request))
        assert refusal.infos[0].metadata["product_id"] == product_id
        assert product_id in refusal.message


async def test_a_full_server_says_when_to_come_back_in_details_and_by_pushback(counter):
    request = pb.GenerateImageRequest(product_id="crowded")
    refusal = await refusal_of(counter.stub.GenerateImage(request))
    assert refusal.retry_s == 0.25
    assert refusal.trailers["grpc-retry-pushback-ms"] == "250"


async def test_more_requests_than_may_be_in_flight_are_refused_and_the_others_answered():
    async with opened_door(max_in_flight=2) as counter:
        image = pb.GenerateImageRequest(product_id="patient")
        inside = [counter.stub.StreamImage(pb.StreamImageRequest(image=image)) for _ in range(2)]
        for call in inside:
            assert (await call.read()).HasField("accepted")
        refusal = await refusal_of(counter.stub.GenerateImage(image))
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVERLOADED",
        )
        assert refusal.retry_s > 0
        assert int(refusal.trailers["grpc-retry-pushback-ms"]) == round(refusal.retry_s * 1000)
        assert counter.metric("admission_refusals_total", reason="in_flight") == 1
        counter.sketcher.go.set()
        for call in inside:
            assert (await rest_of(call))[-1].HasField("result")
        await counter.stub.GenerateImage(pb.GenerateImageRequest(product_id="chair"))


async def test_a_bad_request_costs_no_request_in_flight_anything(counter):
    image = pb.GenerateImageRequest(product_id="patient")
    good = counter.stub.StreamImage(pb.StreamImageRequest(image=image))
    await good.read()
    for product_id in ("", "unknown", "cursed", "torn", "crowded"):
        await refusal_of(counter.stub.GenerateImage(pb.GenerateImageRequest(product_id=product_id)))
    counter.sketcher.go.set()
    assert (await rest_of(good))[-1].HasField("result")


async def test_an_unknown_method_is_unimplemented_and_counted_as_other(counter):
    raw = counter.channel.unary_unary("/etalage.v1.ImageService/PaintTheWall")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    counted = counter.metric("requests_total", method="other", code="UNIMPLEMENTED", source="none")
    assert counted == 1


async def test_the_callers_request_id_for_logs_is_kept_where_it_is_sane(counter):
    request = pb.GenerateImageRequest(product_id="unknown")
    for given, kept in (("trace-7", True), ("x" * 200, False)):
        call = counter.stub.GenerateImage(request, metadata=(("x-request-id", given),))
        refusal = await refusal_of(call)
        assert (refusal.trailers["x-request-id"] == given) is kept
