"""What reaches the server, field by field."""

import inspect

import pytest

from etalage import Client, InvalidArgument, Product
from etalage import requests as builder
from etalage.v1 import images_pb2 as pb
from tests.clients.scripted import PIXEL, cancel_one, serve, succeed


def test_what_is_left_out_stays_unset(face):
    with serve(succeed) as (server, service):
        face.generate(server, "wrench")
    sent = service.requests[0]
    assert sent.product_id == "wrench"
    assert sent.mode == pb.MODE_PRESERVE
    assert (sent.locale, sent.num_images, sent.user_id) == ("en", 1, "")
    for name in ("seed", "steps", "guidance", "output", "experiment"):
        assert not sent.HasField(name), name
    assert sent.deadline_policy == sent.sampler == sent.sigmas == 0
    assert (sent.model, sent.reuse_predictions) == ("", False)


def test_explicit_zeros_are_sent_as_values(face):
    with serve(succeed) as (server, service):
        face.generate(server, "wrench", seed=0, strength=0.0, product_scale=0.0)
    sent = service.requests[0]
    assert sent.HasField("seed") and sent.seed == 0
    assert sent.guidance.HasField("strength") and sent.guidance.strength == 0.0
    assert sent.guidance.HasField("product_scale") and sent.guidance.product_scale == 0.0
    assert not sent.HasField("steps")


def test_every_option_reaches_its_field(face):
    with serve(succeed) as (server, service):
        face.generate(
            server,
            "wrench",
            user="u1",
            strength=0.25,
            product_scale=2.0,
            steps=12,
            seed=2**64 - 1,
            sampler="euler_ancestral",
            num_images=3,
            mode="restyle",
            locale="pt-BR",
            format="webp",
            quality=80,
            longest_side=256,
            aspect_ratio=0.75,
            style="noir",
            deadline_policy="degrade",
            arm="generic",
            model="fast",
            sigmas="karras",
            reuse=True,
            request_id="r-1",
        )
    expected = pb.GenerateImageRequest(
        request_id="r-1",
        user_id="u1",
        product_id="wrench",
        mode=pb.MODE_RESTYLE,
        locale="pt-BR",
        num_images=3,
        seed=2**64 - 1,
        steps=12,
        guidance=pb.Guidance(product_scale=2.0, strength=0.25),
        output=pb.OutputSpec(
            format=pb.IMAGE_FORMAT_WEBP, quality=80, longest_side=256, aspect_ratio=0.75
        ),
        deadline_policy=pb.DEADLINE_POLICY_DEGRADE,
        experiment=pb.ExperimentOverride(arm="generic"),
        sampler=pb.SAMPLER_EULER_ANCESTRAL,
        style="noir",
        model="fast",
        sigmas=pb.SIGMAS_KARRAS,
        reuse_predictions=True,
    )
    assert service.requests == [expected]


def test_an_inline_product_travels_whole_from_bytes_and_from_a_file(face, tmp_path):
    (tmp_path / "shoe.png").write_bytes(PIXEL)
    with serve(succeed) as (server, service):
        for packshot in (PIXEL, tmp_path / "shoe.png", str(tmp_path / "shoe.png")):
            product = Product("red shoe", packshot, {"colour": "red"}, control_map=packshot)
            face.generate(server, product)
    expected = pb.InlineProduct(
        title="red shoe", packshot=PIXEL, attributes={"colour": "red"}, control_map=PIXEL
    )
    assert [request.inline_product for request in service.requests] == [expected] * 3
    assert {request.WhichOneof("product") for request in service.requests} == {"inline_product"}


def test_a_stream_asks_for_its_preview(face):
    with serve(lambda request, context: []) as (server, service):
        face.stream(server, "wrench", preview_side=64, seed=0)
    sent = service.requests[0]
    assert sent.preview_side == 64
    assert sent.image.HasField("seed") and sent.image.request_id


def test_a_slate_keeps_its_order_and_its_own_request_id(face):
    with serve(lambda request, context: []) as (server, service):
        face.slate(server, ["b", "a", "c"], user="u1", strength=0.0, request_id="r-2")
    sent = service.requests[0]
    assert list(sent.product_ids) == ["b", "a", "c"]
    assert (sent.request_id, sent.template.request_id) == ("r-2", "")
    assert sent.template.WhichOneof("product") is None
    assert sent.template.guidance.HasField("strength")


def test_each_request_gets_an_id_of_its_own(face):
    with serve(succeed) as (server, service):
        results = [face.generate(server, "wrench") for _ in range(2)]
    ids = [request.request_id for request in service.requests]
    assert len(set(ids)) == 2 and all(ids)
    assert [result.request_id for result in results] == ids


def test_values_that_no_request_can_hold_are_all_named_before_anything_is_sent():
    with Client() as client, pytest.raises(InvalidArgument) as caught:
        client.generate("wrench", steps=-1, seed=2**64, mode="destroy", user=5)  # type: ignore[arg-type]
    assert [wrong.field for wrong in caught.value.violations] == [
        "user_id",
        "mode",
        "seed",
        "steps",
    ]
    assert "'destroy' is none of preserve, restyle" in str(caught.value)


def test_sigmas_that_there_are_not_are_named_with_those_that_there_are(face):
    with pytest.raises(InvalidArgument, match="'exponential' is none of uniform, karras"):
        face.generate("127.0.0.1:1", "wrench", sigmas="exponential")


def test_what_to_cancel_reaches_the_server_by_its_id(face):
    with serve(cancel_one) as (server, service):
        face.cancel(server, "r-1")
        with pytest.raises(InvalidArgument) as caught:
            face.cancel(server, 7)
    assert service.requests == [pb.CancelImageRequest(request_id="r-1")]
    assert [wrong.field for wrong in caught.value.violations] == ["request_id"]


def test_a_mistyped_option_is_a_type_error_not_a_silent_default():
    with Client() as client, pytest.raises(TypeError, match="strenght"):
        client.generate("wrench", strenght=0.5)  # type: ignore[call-arg]


def test_a_single_string_is_no_slate():
    with Client() as client, pytest.raises(TypeError, match="sequence of ids"):
        client.slate("wrench")


def test_a_product_is_an_id_or_a_product():
    with Client() as client, pytest.raises(TypeError, match="got bytes"):
        client.generate(PIXEL)  # type: ignore[arg-type]


def test_the_options_that_are_typed_are_the_options_that_are_taken():
    taken = inspect.signature(builder._fill).parameters
    assert set(builder.ImageOptions.__annotations__) == set(taken) - {"request"}
