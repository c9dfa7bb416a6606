"""`serve --engine ray` as a process, with two replicas, of which one is killed under load."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time

import pytest

from etalage import AsyncClient
from features.prepare import choose_demo_shoppers
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
PRODUCTS = ("handbag", "teapot", "bicycle", "croissant")
NUM_IMAGES = 24


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with running_server(SERVE, home, home / "server.log", lambda: None) as ports:
        yield ports, home


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


async def ask_all(client, shopper, policy):
    """Images of many products at once, each by its seed."""

    async def ask(number):
        result = await client.generate(
            PRODUCTS[number % len(PRODUCTS)],
            user=shopper,
            seed=number,
            steps=8,
            cache_policy=policy,
            timeout_s=120,
        )
        assert result.source == "generated"
        return result.image.data

    return await asyncio.gather(*(ask(number) for number in range(NUM_IMAGES)))


async def test_a_replica_that_is_killed_loses_no_request_and_changes_no_byte(running):
    ports, home = running
    shopper = next(iter(choose_demo_shoppers(home).tastes))
    replicas = find_replicas(home)
    assert len(replicas) == 2, "a second pool is for other models only"
    async with AsyncClient(ports.server, timeout_s=120) as client:
        before = await ask_all(client, shopper, "refresh")
        asked = asyncio.create_task(ask_all(client, shopper, "refresh"))
        await asyncio.sleep(0.3)  # rows are on their way by now
        os.kill(replicas[0], signal.SIGKILL)
        assert await asked == before
        assert "replica lost" in (home / "server.log").read_text()
        ends_s = time.monotonic() + 60
        while len(now := find_replicas(home)) < 2 or replicas[0] in now:
            assert time.monotonic() < ends_s, "another one takes its place"
            await asyncio.sleep(0.2)


async def test_steps_are_told_and_a_call_that_hangs_up_frees_its_rows(running):
    ports, home = running
    shopper = next(iter(choose_demo_shoppers(home).tastes))
    async with AsyncClient(ports.server, timeout_s=120) as client:
        steps = []
        async for event in client.stream("handbag", user=shopper, seed=99, steps=8):
            steps.append(getattr(event, "step", None))
        assert [step for step in steps if step] == sorted(set(filter(None, steps)))
        assert 8 in steps
