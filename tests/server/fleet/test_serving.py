"""`serve --engine ray` as a process, with two replicas, of which one is killed under load."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.control_plane import prepare
from etalage import AsyncClient, Progress
from server.demo.process import running_server

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)

SERVE = (
    *(sys.executable, "-m", "server", "serve", "--engine", "ray"),
    *("--server.port=0", "--server.admin_port=0", "--server.metrics_port=0"),
    *("--replicas.min_replicas=2", "--replicas.max_replicas=2"),
    # The same bytes from every replica, and in every file.
    *("--engine.strict=true", "--engine.buckets=4", "--provenance.sign=false"),
    *("--features.timeout_s=5", "--drain.lame_duck_s=0", "--logging.format=json"),
)
SHOPPER = "shopper-00001"
NUM_IMAGES = 24


@dataclass(frozen=True)
class Running:
    address: str
    home: Path
    products: list[str]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    products, home = prepare(folder), folder / "home"
    store = {"type": "sqlite", "path": str(home / "store" / "online.db")}
    command = (*SERVE, "--features.online_store", json.dumps(store))
    with running_server(command, home, folder / "server.log", lambda: None) as ports:
        yield Running(ports.server, home, products)


def find_replicas(home):
    """Process ids of replicas, whose environment says where this test's server has its home."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                title = file.read()
            with open(f"/proc/{name}/environ", "rb") as file:
                is_ours = f"ETALAGE_HOME={home}\0".encode() in file.read()
        except (OSError, ValueError):
            continue
        if name.isdecimal() and is_ours and b"ServeReplica" in title:
            found.append(int(name))
    return sorted(found)


async def ask_all(client, products):
    """Images of many products at once, each by its seed."""

    async def ask(number):
        result = await client.generate(
            products[number % len(products)],
            user=SHOPPER,
            seed=number,
            steps=8,
            cache_policy="refresh",
            timeout_s=120,
        )
        assert result.source == "generated"
        return result.image.data

    return await asyncio.gather(*(ask(number) for number in range(NUM_IMAGES)))


async def test_a_replica_that_is_killed_loses_no_request_and_changes_no_byte(running):
    replicas = find_replicas(running.home)
    assert len(replicas) == 2, "a second pool is for other models only"
    async with AsyncClient(running.address, timeout_s=120) as client:
        before = await ask_all(client, running.products)
        asked = asyncio.create_task(ask_all(client, running.products))
        await asyncio.sleep(0.3)  # rows are on their way by now
        os.kill(replicas[0], signal.SIGKILL)
        assert await asked == before
        assert "replica lost" in (running.home.parent / "server.log").read_text()
        ends_s = time.monotonic() + 60
        while len(now := find_replicas(running.home)) < 2 or replicas[0] in now:
            assert time.monotonic() < ends_s, "another one takes its place"
            await asyncio.sleep(0.2)


async def test_steps_are_told_from_a_replica_up_to_the_last(running):
    async with AsyncClient(running.address, timeout_s=120) as client:
        asked = client.stream(running.products[0], user=SHOPPER, seed=99, steps=8)
        steps = [event.step async for event in asked if isinstance(event, Progress)]
        assert steps == sorted(set(steps)) and steps[-1] == 8
