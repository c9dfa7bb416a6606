"""What the caller gets, from real messages over a real socket."""

import dataclasses

import pytest
from google.rpc import code_pb2

from etalage import (
    Accepted,
    Cancellation,
    Image,
    NotFound,
    Progress,
    Result,
    ServerError,
    SlateItem,
)
from etalage.v1 import images_pb2 as pb
from tests.clients.scripted import PIXEL, cancel_one, image_of, result_of, serve, succeed


def test_a_result_says_everything_that_the_response_says(face):
    with serve(lambda request, context: result_of(2, request_id="r-1")) as (server, _):
        result = face.generate(server, "wrench")
    assert [image.seed for image in result.images] == [7, 8]
    assert result.image == Image(PIXEL, "image/png", 1, 1, 7)
    assert (result.source, result.arm, result.sampler, result.steps) == (
        "generated",
        "personalized",
        "dpmpp_2m",
        20,
    )
    assert result.personalization.applied and result.personalization.reason == "applied"
    assert result.personalization.feature_ages_s == {"user_profile": 90.5}
    assert result.personalization.feature_fingerprint == "0123456789abcdef"
    assert (result.model.name, result.model.digest) == ("window", "fedcba9876543210")
    assert list(result.timings_ms.items()) == [("read", 1.5), ("sample", 1000.0)]
    assert result.request_id == "r-1"
    assert (result.degradation, result.num_forward_rows, result.num_shared_steps) == ("none", 0, 0)


def test_a_result_has_its_warnings_and_its_style(face):
    with serve(lambda *_: result_of(warnings=["a", "b"], style="noir")) as (server, _):
        result = face.generate(server, "wrench")
    assert (result.warnings, result.style) == (("a", "b"), "noir")


@pytest.mark.parametrize("word", ["fewer_steps", "nearest_taste", "original"])
def test_a_result_says_what_was_given_up_and_what_it_took(face, word):
    number = pb.Degradation.Value(f"DEGRADATION_{word.upper()}")
    fields = {"degradation": number, "num_forward_rows": 42, "num_shared_steps": 7}
    with serve(lambda request, context: result_of(**fields)) as (server, _):
        result = face.generate(server, "wrench")
    assert (result.degradation, result.num_forward_rows, result.num_shared_steps) == (word, 42, 7)


def test_a_cancellation_says_what_it_did(face):
    with serve(cancel_one) as (server, _):
        assert face.cancel(server, "r-1") == Cancellation(num_cancelled=1, is_remembered=True)


def test_an_original_has_neither_model_nor_sampler(face):
    original = pb.GenerateImageResponse(
        images=[image_of()],
        source=pb.SOURCE_ORIGINAL,
        personalization=pb.Personalization(reason=pb.Personalization.REASON_ANONYMOUS),
        arm="original",
    )
    with serve(lambda request, context: original) as (server, _):
        result = face.generate(server, "wrench")
    assert (result.source, result.model, result.sampler, result.steps) == (
        "original",
        None,
        None,
        0,
    )
    assert (result.personalization.applied, result.personalization.reason) == (False, "anonymous")


def test_a_word_of_a_newer_server_is_given_as_its_number(face):
    newer = result_of(personalization=pb.Personalization(reason=99))  # type: ignore[arg-type]
    with serve(lambda request, context: newer) as (server, _):
        assert face.generate(server, "wrench").personalization.reason == "99"


def test_a_large_image_arrives(face):
    large = result_of(images=[pb.Image(data=bytes(9_000_000), mime_type="image/png")])
    with serve(lambda request, context: large) as (server, _):
        assert len(face.generate(server, "wrench").image.data) == 9_000_000


def test_a_stream_yields_accepted_then_progress_then_the_result(face):
    def news(request, context):
        yield pb.StreamImageResponse(accepted=pb.Accepted(request_id="r-1"))
        yield pb.StreamImageResponse()  # news of a kind that this client does not know
        yield pb.StreamImageResponse(progress=pb.Progress(step=1, total_steps=2))
        yield pb.StreamImageResponse(
            progress=pb.Progress(step=2, total_steps=2, preview=image_of())
        )
        yield pb.StreamImageResponse(result=result_of())

    with serve(news) as (server, _):
        events = face.stream(server, "wrench")
    assert events[:3] == [
        Accepted("r-1"),
        Progress(1, 2),
        Progress(2, 2, Image(PIXEL, "image/png", 1, 1, 7)),
    ]
    assert isinstance(events[3], Result) and len(events) == 4


def test_a_slate_yields_results_and_errors_in_order_of_readiness(face):
    def slate(request, context):
        yield pb.GenerateSlateResponse(rank=1, product_id="b", result=result_of())
        error = pb.SlateError(code=code_pb2.NOT_FOUND, reason="PRODUCT_NOT_FOUND", message="no a")
        yield pb.GenerateSlateResponse(rank=0, product_id="a", error=error)
        yield pb.GenerateSlateResponse(rank=2, product_id="c", error=pb.SlateError(code=77))

    with serve(slate) as (server, _):
        items = face.slate(server, ["a", "b", "c"])
    assert [(item.rank, item.product_id) for item in items] == [(1, "b"), (0, "a"), (2, "c")]
    assert items[0].error is None and items[0].unwrap().image.data == PIXEL
    assert isinstance(items[1].error, NotFound) and items[1].result is None
    assert (items[1].error.code, items[1].error.reason) == ("NOT_FOUND", "PRODUCT_NOT_FOUND")
    assert isinstance(items[2].error, ServerError)
    with pytest.raises(NotFound, match="no a"):
        items[1].unwrap()


def test_save_writes_the_file_and_its_folders_and_says_where(face, tmp_path):
    with serve(succeed) as (server, _):
        image = face.generate(server, "wrench").image
    path = image.save(tmp_path / "new" / "wrench.png")
    assert path == tmp_path / "new" / "wrench.png"
    assert path.read_bytes() == PIXEL
    assert image.save(str(path)).read_bytes() == PIXEL


def test_results_are_frozen_and_show_no_bytes(face):
    with serve(succeed) as (server, _):
        result = face.generate(server, "wrench")
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.image.seed = 1
    assert "PNG" not in repr(result)
    with pytest.raises(dataclasses.FrozenInstanceError):
        SlateItem(0, "a").rank = 1  # type: ignore[misc]
