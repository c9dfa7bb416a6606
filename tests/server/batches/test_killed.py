"""A server process that is killed, again and again, in the middle of its batches."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc

from etalage.v1 import batches_pb2 as pb
from etalage.v1 import images_pb2_grpc
from etalage.v1.batches_pb2_grpc import BatchServiceStub
from tests.server.batches.shop import ask, batch, manifest
from tests.server.doors.conftest import rest_of

NUM_REQUESTS = 120
NUM_KILLS = 4


@asynccontextmanager
async def server_in(home: Path, image_s: float):
    """The process, and a channel to it once it takes batches in."""
    ports = home / "ports"
    ports.unlink(missing_ok=True)
    with (home / "output").open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.server.batches.drill", "--port-file", str(ports)),
            *("--server.port=0", "--server.admin_port=0", "--server.metrics_port=0"),
            *("--batches.lease_s=0.3", "--drain.lame_duck_s=0"),
            env=os.environ | {"ETALAGE_HOME": str(home), "DRILL_S": str(image_s)},
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        async with asyncio.timeout(60):
            while not ports.exists():
                assert process.returncode is None, (home / "output").read_text()
                await asyncio.sleep(0.02)
            address = f"127.0.0.1:{json.loads(ports.read_text())['grpc']}"
            async with grpc.aio.insecure_channel(address) as channel:
                stub = BatchServiceStub(channel)
                while not await is_ready(stub):
                    await asyncio.sleep(0.02)
                yield process, channel
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def is_ready(stub) -> bool:
    try:
        await stub.ListBatches(pb.ListBatchesRequest())
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        return False
    return True


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


async def test_however_often_it_is_killed_each_image_is_made_and_counted_once(tmp_path):
    draw = random.Random(5)
    message = batch("a", *["chair"] * NUM_REQUESTS)
    for number, request in enumerate(message.requests):
        request.seed = number
    folder = tmp_path / "batches" / "a"
    recorded: dict[str, tuple[int, int]] = {}
    for _ in range(NUM_KILLS):
        async with server_in(tmp_path, image_s=0.1) as (process, channel):
            stub = BatchServiceStub(channel)
            before = (await stub.GenerateBatch(message)).batch.num_succeeded
            goal = before + draw.randrange(1, NUM_REQUESTS // NUM_KILLS - 8)
            async for news in stub.WatchBatch(pb.WatchBatchRequest(batch_id="a")):
                if news.batch.num_succeeded >= goal:
                    break
            await asyncio.sleep(draw.random() / 20)
            process.send_signal(signal.SIGKILL)
        assert recorded.items() <= stamps(folder / "images").items()
        assert len(stamps(folder / "images")) < NUM_REQUESTS
        recorded = read_recorded(tmp_path, folder)
    async with server_in(tmp_path, image_s=0.01) as (process, channel):
        stub = BatchServiceStub(channel)
        watch = stub.WatchBatch(pb.WatchBatchRequest(batch_id="a"), timeout=60)
        ended = (await rest_of(watch))[-1].batch
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    assert ended.state == pb.BATCH_STATE_SUCCEEDED
    assert (ended.num_succeeded, ended.num_failed) == (NUM_REQUESTS, 0)
    rows = manifest(folder)
    assert [(row["row"], row["seed"]) for row in rows] == [(n + 1, n) for n in range(NUM_REQUESTS)]
    images = stamps(folder / "images")
    assert set(images) == {Path(row["path"]).name for row in rows}
    assert recorded.items() <= images.items(), "what was recorded is not made again"
    for row in rows:
        assert hashlib.sha256((folder / row["path"]).read_bytes()).hexdigest() == row["sha256"]


def read_recorded(home: Path, folder: Path) -> dict[str, tuple[int, int]]:
    """Images that the database knows of, as they lie on the disk."""
    with closing(sqlite3.connect(home / "batches.db")) as connection:
        lines = connection.execute(
            "SELECT record FROM etalage_batch_requests WHERE record NOT NULL"
        )
        names = [Path(json.loads(line)["images"][0]["path"]).name for (line,) in lines]
    found = stamps(folder / "images")
    return {name: found[name] for name in names}


async def test_a_server_that_is_asked_to_stop_leaves_its_batch_to_the_next_at_once(tmp_path):
    async with server_in(tmp_path, image_s=0.1) as (process, channel):
        stub = BatchServiceStub(channel)
        await stub.GenerateBatch(batch("a", *["chair"] * 40))
        watch = stub.WatchBatch(pb.WatchBatchRequest(batch_id="a"))
        while (await watch.read()).batch.num_succeeded < 4:
            pass
        image = await images_pb2_grpc.ImageServiceStub(channel).GenerateImage(ask("lamp"))
        assert image.images
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    async with server_in(tmp_path, image_s=0.01) as (process, channel):
        stub = BatchServiceStub(channel)
        watch = stub.WatchBatch(pb.WatchBatchRequest(batch_id="a"), timeout=60)
        assert (await rest_of(watch))[-1].batch.num_succeeded == 40
    assert "Traceback" not in (tmp_path / "output").read_text()
