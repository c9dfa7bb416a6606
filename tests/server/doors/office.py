"""A real gRPC server for batches, with real jobs and a pipeline of a few lines behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from etalage.v1 import batches_pb2 as pb
from etalage.v1 import images_pb2_grpc
from etalage.v1.batches_pb2_grpc import BatchServiceStub
from server.access.access import Access
from server.batches.jobs import Jobs
from server.configuration import ServerSlice
from server.doors import images
from server.doors.batches import METHODS, SERVICE
from server.doors.listening import Door
from server.metrics import Metrics
from tests.server.batches.shop import working
from tests.server.doors.conftest import rest_of
from tests.server.doors.sketching import Sketcher


@dataclass
class Office:
    """What a test needs to submit, and to look behind the door."""

    port: int
    door: Door
    channel: grpc.aio.Channel
    jobs: Jobs
    stub: Any
    images: Any
    sketcher: Sketcher
    metrics: Metrics
    folder: Path

    def send(self, data: bytes) -> Any:
        """Asks for a batch with bytes that no honest client writes."""
        read = pb.GenerateBatchResponse.FromString
        method = f"/{SERVICE}/GenerateBatch"
        return self.channel.unary_unary(method, None, read)(data)

    async def ended(self, batch_id: str) -> pb.Batch:
        news = await rest_of(self.stub.WatchBatch(pb.WatchBatchRequest(batch_id=batch_id)))
        return news[-1].batch


@asynccontextmanager
async def opened_office(
    folder: Path,
    is_open: bool = True,
    port: int = 0,
    access: Access | None = None,
    **settings: Any,
) -> AsyncIterator[Office]:
    metrics, sketcher = Metrics((*images.METHODS, *METHODS)), Sketcher()
    door = Door(ServerSlice(port=port, **settings), metrics, access)
    async with working(folder, sketcher) as jobs:
        try:
            bound = await door.start()
            if is_open:
                await door.open(sketcher, ("quality", "fast"))
                door.open_batches(jobs, ("quality", "fast"))
            async with grpc.aio.insecure_channel(f"127.0.0.1:{bound}") as channel:
                stub = BatchServiceStub(channel)
                image = images_pb2_grpc.ImageServiceStub(channel)
                yield Office(bound, door, channel, jobs, stub, image, sketcher, metrics, folder)
        finally:
            await door.stop()
