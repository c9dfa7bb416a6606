"""Every wrong field, by its path."""

import math

import pytest

from etalage.v1 import images_pb2 as pb
from server.doors.validation import check_cancel, check_image, check_slate, check_stream


def wrong_fields(**fields):
    request = pb.GenerateImageRequest(**({"product_id": "chair"} | fields))
    return [violation.field for violation in check_image(request)]


def test_the_smallest_request_is_fine():
    assert wrong_fields() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"num_images": 1},
        {"num_images": 8},
        {"steps": 1},
        {"steps": 100},
        {"seed": 0},
        {"seed": 2**64 - 1},
        {"seed": 2**64 - 8, "num_images": 8},
        {"guidance": pb.Guidance(product_scale=0, strength=0)},
        {"guidance": pb.Guidance(product_scale=4, strength=1)},
        {"output": pb.OutputSpec(quality=1, longest_side=32)},
        {"output": pb.OutputSpec(quality=100, longest_side=2048)},
        {"locale": "sr-Latn-RS"},
        {"user_id": "ü" * 256, "request_id": "r" * 128},
        {"experiment": pb.ExperimentOverride(arm="original")},
        {"model": "quality", "sigmas": pb.SIGMAS_UNIFORM, "reuse_predictions": True},
        {"sigmas": pb.SIGMAS_KARRAS},
    ],
)
def test_the_ends_of_each_range_are_fine(fields):
    assert wrong_fields(**fields) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"product_id": ""}, "product"),
        ({"product_id": "p" * 257}, "product_id"),
        ({"request_id": "r" * 129}, "request_id"),
        ({"user_id": "u" * 257}, "user_id"),
        ({"mode": 9}, "mode"),
        ({"mode": -1}, "mode"),
        ({"sampler": 9}, "sampler"),
        ({"deadline_policy": 9}, "deadline_policy"),
        ({"locale": "pt_BR"}, "locale"),
        ({"num_images": 0}, "num_images"),
        ({"num_images": 9}, "num_images"),
        ({"num_images": 99}, "num_images"),
        ({"seed": 2**64 - 7, "num_images": 8}, "seed"),
        ({"steps": 0}, "steps"),
        ({"steps": 101}, "steps"),
        ({"guidance": pb.Guidance(product_scale=-0.1)}, "guidance.product_scale"),
        ({"guidance": pb.Guidance(product_scale=math.inf)}, "guidance.product_scale"),
        ({"guidance": pb.Guidance(strength=1.5)}, "guidance.strength"),
        ({"guidance": pb.Guidance(strength=math.nan)}, "guidance.strength"),
        ({"output": {"format": 9}}, "output.format"),
        ({"output": pb.OutputSpec(quality=0)}, "output.quality"),
        ({"output": pb.OutputSpec(quality=101)}, "output.quality"),
        ({"output": pb.OutputSpec(longest_side=31)}, "output.longest_side"),
        ({"output": pb.OutputSpec(longest_side=2049)}, "output.longest_side"),
        ({"experiment": pb.ExperimentOverride(arm="best")}, "experiment.arm"),
        ({"experiment": pb.ExperimentOverride()}, "experiment.arm"),
        ({"model": "fast"}, "model"),
        ({"model": "Quality"}, "model"),
        ({"sigmas": 3}, "sigmas"),
        ({"sigmas": -1}, "sigmas"),
    ],
)
def test_each_wrong_field_is_named(fields, field):
    assert wrong_fields(**fields) == [field]


def test_all_wrong_fields_are_named_at_once():
    fields = wrong_fields(
        product_id="",
        num_images=99,
        steps=0,
        locale="??",
        guidance=pb.Guidance(strength=math.nan),
        output=pb.OutputSpec(quality=0),
    )
    assert fields == [
        "product",
        "locale",
        "num_images",
        "steps",
        "guidance.strength",
        "output.quality",
    ]


def test_an_inline_product_needs_title_and_packshot_and_few_short_attributes():
    def fields(**inline):
        product = pb.InlineProduct(**({"title": "Chair", "packshot": b"png"} | inline))
        return [v.field for v in check_image(pb.GenerateImageRequest(inline_product=product))]

    assert fields() == []
    assert fields(title="   ") == ["inline_product.title"]
    assert fields(title="t" * 513) == ["inline_product.title"]
    assert fields(packshot=b"") == ["inline_product.packshot"]
    assert fields(attributes={str(n): "x" for n in range(33)}) == ["inline_product.attributes"]
    assert fields(attributes={"colour": "x" * 257}) == ["inline_product.attributes"]
    assert fields(attributes={"x" * 257: "red"}) == ["inline_product.attributes"]


def test_the_fields_of_a_stream_are_named_from_its_own_message():
    request = pb.StreamImageRequest(
        image=pb.GenerateImageRequest(product_id="chair", steps=0), preview_side=257
    )
    assert [v.field for v in check_stream(request)] == ["image.steps", "preview_side"]
    assert [v.field for v in check_stream(pb.StreamImageRequest())] == ["image.product"]


def test_the_models_that_there_are_may_be_asked_for():
    image = pb.GenerateImageRequest(product_id="chair", model="fast")
    stream = pb.StreamImageRequest(image=image)
    slate = pb.GenerateSlateRequest(
        product_ids=["a"], template=pb.GenerateImageRequest(model="fast")
    )
    for models, fields in ((["fast"], []), (["quality"], ["model", "image.model"])):
        wrong = [*check_image(image, models=models), *check_stream(stream, models)]
        assert [violation.field for violation in wrong] == fields
    assert [v.field for v in check_slate(slate, ["fast"])] == []
    [violation] = check_slate(slate, ["quality", "slow"])
    assert violation.field == "template.model"
    assert violation.description == "'fast' is none of this server's models: quality, slow"


@pytest.mark.parametrize(
    ("request_id", "is_good"), [("", False), ("r" * 128, True), ("r" * 129, False)]
)
def test_what_to_cancel_is_said_by_an_id(request_id, is_good):
    wrong = [v.field for v in check_cancel(pb.CancelImageRequest(request_id=request_id))]
    assert wrong == ([] if is_good else ["request_id"])


def slate_fields(products, request_id="", **template):
    slate = pb.GenerateSlateRequest(
        product_ids=products,
        template=pb.GenerateImageRequest(**template),
        request_id=request_id,
    )
    return [violation.field for violation in check_slate(slate)]


def test_a_slate_ranks_one_to_a_hundred_products_without_repeats():
    assert slate_fields(["a"]) == []
    assert slate_fields([str(n) for n in range(100)]) == []
    assert slate_fields([]) == ["product_ids"]
    assert slate_fields([str(n) for n in range(101)]) == ["product_ids"]
    assert slate_fields(["a", "b", "a", "", "b"]) == [
        "product_ids[2]",
        "product_ids[3]",
        "product_ids[4]",
    ]


def test_the_template_of_a_slate_names_no_product_no_id_and_one_image():
    assert slate_fields(["a"], num_images=1, steps=5) == []
    assert slate_fields(["a"], product_id="b") == ["template.product_id"]
    assert slate_fields(["a"], product_id="") == ["template.product_id"]
    assert slate_fields(["a"], inline_product=pb.InlineProduct()) == ["template.inline_product"]
    assert slate_fields(["a"], request_id="s" * 129) == ["request_id"]
    assert slate_fields(["a"], num_images=2) == ["template.num_images"]
    assert slate_fields(["a"], num_images=0, steps=0) == ["template.num_images", "template.steps"]
    slate = pb.GenerateSlateRequest(
        product_ids=["a"], template=pb.GenerateImageRequest(request_id="r")
    )
    assert [v.field for v in check_slate(slate)] == ["template.request_id"]
