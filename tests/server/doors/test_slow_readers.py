"""Clients that do not read what they asked for."""

import asyncio

import grpc
import pytest

from etalage.v1 import images_pb2 as pb
from server.core import EncodedImage
from server.doors import interceptor
from tests.server.doors.conftest import opened_door, rest_of

LARGE = EncodedImage(bytes(16 * 1024 * 1024), "image/png", 64, 64, 7)
CHAIR = pb.StreamImageRequest(image=pb.GenerateImageRequest(product_id="chair"))


@pytest.mark.parametrize("then", ["cancel", "read"])
async def test_a_client_that_never_reads_gives_its_place_up(monkeypatch, then):
    monkeypatch.setattr(interceptor, "UNREAD_S", 0.3)
    async with opened_door(max_in_flight=1) as counter:
        counter.sketcher.account = {"images": (LARGE,)}
        await counter.stub.CancelImage(pb.CancelImageRequest(request_id="none"))
        before = len(asyncio.all_tasks())
        call = counter.stub.StreamImage(CHAIR)
        await call.read()
        async with asyncio.timeout(30):
            while not counter.metric(
                "requests_total",
                method="etalage.v1.ImageService/StreamImage",
                code="DEADLINE_EXCEEDED",
                source="generated",
            ):
                await asyncio.sleep(0.05)
        counter.sketcher.account = {}
        assert (await counter.stub.GenerateImage(CHAIR.image)).images
        if then == "cancel":
            call.cancel()
        else:
            with pytest.raises(grpc.aio.AioRpcError, match="has not read for too long"):
                await rest_of(call)
        async with asyncio.timeout(30):
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.05)
