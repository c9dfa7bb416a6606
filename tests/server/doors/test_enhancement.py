"""EnhanceImage over a real socket: what may be asked, and how it is answered."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from PIL import Image

import etalage
from diffusion.cutout import MaskSource
from etalage.v1 import enhancement_pb2 as pb
from etalage.v1.enhancement_pb2_grpc import EnhancementServiceStub
from server.core import EncodedImage, ModelCard
from server.doors.listening import Door
from server.enhancement.enhance import Enhancer
from server.enhancement.nouns import Defect, EnhanceResult, Finding, Repair
from tests.server.doors.conftest import opened_door, refusal_of
from tests.server.scripted_reader import ScriptedReader

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def draw(kind="PNG", size=(8, 6)):
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), 200, np.uint8)).save(file, kind)
    return file.getvalue()


def to_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Workbench:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self):
        self.requests = []
        self.num_cancelled = 0

    async def enhance(self, request):
        self.requests.append(request)
        if request.source == "slow":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.num_cancelled += 1
                raise
        findings = (
            Finding(Defect.NOISE, 0.625, 0.125, True, "noise of 25.0/255"),
            Finding(Defect.CUT_OFF, 0.0, None, False, "free on all sides"),
        )
        return EnhanceResult(
            EncodedImage(b"picture", "image/png", 8, 6, 0),
            findings,
            (Repair.RESTORE, Repair.WHITE_BACKGROUND),
            EncodedImage(b"difference", "image/png", 8, 6, 0),
            ModelCard("etalage-restorer", "abc"),
            0.25,
            {"restore": 0.5},
            ("something to know",),
            request.request_id,
            MaskSource.MATTING,
        )


@pytest.fixture
async def opened():
    async with opened_door() as counter:
        workbench = Workbench()
        counter.door.open_enhancement(workbench)
        yield counter, workbench, EnhancementServiceStub(counter.channel)


async def test_a_product_and_a_picture_reach_the_workbench(opened):
    _, workbench, stub = opened
    await stub.EnhanceImage(pb.EnhanceImageRequest(product_id="mug", request_id="r-1"), timeout=9)
    picture = draw()
    asked = pb.EnhanceImageRequest(
        image=picture,
        repairs=[pb.REPAIR_UPSCALE, pb.REPAIR_INPAINT],
        upscale_factor=3,
        steps=2,
        defect_mask=picture,
    )
    await stub.EnhanceImage(asked)
    first, second = workbench.requests
    assert (first.source, first.request_id, first.repairs) == ("mug", "r-1", frozenset())
    assert first.deadline_s is not None and second.deadline_s is None
    assert (first.steps, first.upscale_factor, first.is_diagnosed_only) == (None, 2, False)
    assert second.source == second.defect_mask == picture
    assert second.repairs == {Repair.UPSCALE, Repair.INPAINT}
    assert (second.steps, second.upscale_factor) == (2, 3)


async def test_all_that_was_found_and_done_is_told_to_the_client(opened):
    counter, _, _ = opened
    async with etalage.AsyncClient(counter.address) as client:
        told = await client.enhance("mug", repairs=["restore"], request_id="r-2")
    assert told.image is not None and told.difference is not None and told.model is not None
    assert (told.image.data, told.difference.data) == (b"picture", b"difference")
    assert told.repairs == ("restore", "white_background")
    assert [each.defect for each in told.findings] == ["noise", "cut_off"]
    (noise,) = told.found
    assert (noise.score_before, noise.score_after) == (0.625, 0.125)
    assert noise.measured == "noise of 25.0/255"
    assert told.findings[1].score_after is None
    assert (told.mask_uncertainty, told.mask_source) == (0.25, "matting")
    assert told.timings_ms == {"restore": 500}
    assert told.model.name == "etalage-restorer" and told.request_id == "r-2"
    assert told.warnings == ("something to know",)


async def test_a_client_of_threads_asks_the_same(opened, tmp_path):
    counter, workbench, _ = opened
    file = tmp_path / "mug.png"
    file.write_bytes(draw())

    def ask():
        with etalage.Client(counter.address) as client:
            return client.enhance(file, diagnose_only=True, format="webp", quality=70)

    assert (await asyncio.to_thread(ask)).image is not None
    (request,) = workbench.requests
    assert request.source == file.read_bytes() and request.is_diagnosed_only
    assert (request.output.format.value, request.output.quality) == ("webp", 70)


@pytest.mark.parametrize(
    ("fields", "field", "text"),
    [
        ({}, "source", "product_id or image is required"),
        ({"product_id": ""}, "product_id", "is empty"),
        ({"image": b""}, "image", "is empty"),
        ({"product_id": "x" * 257}, "product_id", "at most 256"),
        ({"product_id": "mug", "request_id": "x" * 129}, "request_id", "at most 128"),
        ({"product_id": "mug", "repairs": [0]}, "repairs[0]", "is unspecified"),
        ({"product_id": "mug", "repairs": [1, 99]}, "repairs[1]", "no repair of this server"),
        ({"product_id": "mug", "repairs": [1], "diagnose_only": True}, "repairs", "contradicts"),
        (
            {"product_id": "mug", "defect_mask": b"mask", "diagnose_only": True},
            "defect_mask",
            "contradicts diagnose_only",
        ),
        (
            {"product_id": "mug", "defect_mask": b"mask", "repairs": [1]},
            "defect_mask",
            "REPAIR_INPAINT",
        ),
        ({"product_id": "mug", "steps": 0}, "steps", "must be from 1 to 20"),
        ({"product_id": "mug", "steps": 21}, "steps", "must be from 1 to 20"),
        ({"product_id": "mug", "upscale_factor": 2}, "upscale_factor", "REPAIR_UPSCALE"),
        (
            {"product_id": "mug", "repairs": [7], "upscale_factor": 5},
            "upscale_factor",
            "must be from 2 to 4",
        ),
        ({"product_id": "mug", "output": {"format": 99}}, "output.format", "99 is no"),
        ({"product_id": "mug", "output": {"quality": 0}}, "output.quality", "from 1 to 100"),
        ({"product_id": "mug", "output": {"longest_side": 64}}, "output.longest_side", "size"),
        ({"product_id": "mug", "output": {"aspect_ratio": 1}}, "output.aspect_ratio", "size"),
    ],
)
async def test_what_no_one_can_mean_is_refused_by_its_name(opened, fields, field, text):
    _, workbench, stub = opened
    refusal = await refusal_of(stub.EnhanceImage(pb.EnhanceImageRequest(**fields)))
    assert refusal.code == INVALID and not workbench.requests
    assert text in refusal.violations[field]


async def test_both_sources_in_one_message_are_refused(opened):
    counter, workbench, _ = opened
    one = pb.EnhanceImageRequest(product_id="mug").SerializeToString()
    two = pb.EnhanceImageRequest(image=draw()).SerializeToString()
    send = counter.channel.unary_unary("/etalage.v1.EnhancementService/EnhanceImage")
    refusal = await refusal_of(send(one + two))
    assert refusal.code == INVALID and not workbench.requests
    assert "has both forms" in refusal.violations["source"]


async def test_bytes_that_are_no_message_are_refused(opened):
    counter, _, _ = opened
    send = counter.channel.unary_unary("/etalage.v1.EnhancementService/EnhanceImage")
    assert (await refusal_of(send(b"\xff\xff"))).code == INVALID


@pytest.fixture
async def working():
    """A door with one who really repairs behind it."""
    async with opened_door() as counter:
        with ThreadPoolExecutor(1) as workers:
            counter.door.open_enhancement(Enhancer(ScriptedReader(), None, None, workers))
            async with etalage.AsyncClient(counter.address) as client:
                yield client


async def test_what_a_mask_marks_goes_and_all_else_comes_back_as_it_was(working):
    spoilt = np.full((60, 80, 3), 255, np.uint8)
    spoilt[20:50, 30:60] = (200, 30, 40)
    truth, mask = spoilt.copy(), np.zeros((60, 80), np.uint8)
    spoilt[5:9, 10:30], mask[4:10, 9:31] = 0, 255
    told = await working.enhance(to_png(spoilt), repairs=["inpaint"], defect_mask=to_png(mask))
    assert told.image is not None and told.repairs == ("inpaint",)
    with Image.open(io.BytesIO(told.image.data)) as image:
        assert np.abs(np.asarray(image).astype(int) - truth).max() <= 1


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (draw(size=(6, 8)), "is 6 × 8 pixels, but the picture is 8 × 6"),
        (b"no mask", "does not decode"),
    ],
    ids=["of another size", "no picture"],
)
async def test_a_mask_that_does_not_fit_is_refused_by_its_name(working, mask, text):
    with pytest.raises(etalage.InvalidArgument) as caught:
        await working.enhance(draw(), repairs=["inpaint"], defect_mask=mask)
    (violation,) = caught.value.violations
    assert violation.field == "defect_mask" and text in violation.description


async def test_who_goes_away_ends_the_work(opened):
    counter, workbench, stub = opened
    call = stub.EnhanceImage(pb.EnhanceImageRequest(product_id="slow"), timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    for _ in range(100):
        if workbench.num_cancelled:
            break
        await asyncio.sleep(0.05)
    assert workbench.num_cancelled == 1


async def test_without_a_workbench_the_door_is_shut():
    async with opened_door() as counter:
        assert isinstance(counter.door, Door)
        stub = EnhancementServiceStub(counter.channel)
        refusal = await refusal_of(stub.EnhanceImage(pb.EnhanceImageRequest(product_id="mug")))
        assert refusal.code == grpc.StatusCode.UNAVAILABLE
