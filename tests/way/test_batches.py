"""A batch outlives a server that is killed, and shoppers don't wait for it: real processes."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from etalage import Client
from etalage.batches import Batch, Batches, Item
from server.demo.process import Ports, ServerFailed, running_server
from tests.way.conftest import SERVE

PRODUCT = "backpack"
NUM_ITEMS = 24
FEW = ("--batches.max_rows=3", "--engine.buckets=1,2,4")  # starts sooner
LOOK: dict[str, Any] = {"steps": 4, "longest_side": 96}


@contextmanager
def killable_server(home: Path) -> Iterator[tuple[Ports, int]]:
    """A server and its process id; the block may kill it."""
    note = home / "pid"
    command = ("sh", "-c", 'echo $$ > "$0"; exec "$@"', str(note), *SERVE, *FEW)
    try:
        with running_server(command, home, home / "server.log", lambda: None) as ports:
            yield ports, int(note.read_text())
    except ServerFailed as error:
        if "status -9" not in str(error):
            raise


@pytest.fixture(scope="module")
def home(make_home: Callable[[], Path]) -> Path:
    return make_home()


@contextmanager
def batches_at(ports: Ports) -> Iterator[Batches]:
    with grpc.insecure_channel(ports.server) as channel:
        yield Batches(channel)


def until(condition: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


def items() -> list[Item]:
    return [Item(PRODUCT, seed=number, **LOOK) for number in range(NUM_ITEMS)]


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def test_a_batch_survives_a_kill_and_nothing_is_lost_or_made_twice(home):
    with killable_server(home) as (ports, pid), batches_at(ports) as batches:
        batches.submit(items(), request_id="spring")
        until(lambda: batches.get("spring").num_succeeded >= NUM_ITEMS // 3)
        os.kill(pid, signal.SIGKILL)
    folder = home / "batches" / "spring"
    assert not (folder / "manifest.parquet").exists()
    with killable_server(home) as (ports, _), batches_at(ports) as batches:
        again = batches.submit(items(), request_id="spring")
        num_kept = again.num_succeeded
        before = stamps(folder / "images")
        assert NUM_ITEMS // 3 <= num_kept <= len(before) < NUM_ITEMS
        last = batches.wait("spring", timeout_s=240)
        with Client(ports.server, timeout_s=60) as client:
            alone = client.generate(PRODUCT, seed=NUM_ITEMS - 1, **LOOK)
    assert (last.state, last.num_succeeded, last.num_failed) == ("succeeded", NUM_ITEMS, 0)
    rows = pq.read_table(folder / "manifest.parquet").to_pylist()
    assert [(row["name"], row["row"], row["seed"]) for row in rows] == [
        (str(number + 1), number + 1, number) for number in range(NUM_ITEMS)
    ]
    after = stamps(folder / "images")
    assert set(after) == {Path(row["path"]).name for row in rows} and len(after) == NUM_ITEMS
    for row in rows:
        assert hashlib.sha256((folder / row["path"]).read_bytes()).hexdigest() == row["sha256"]
    num_untouched = sum(after[name] == stamp for name, stamp in before.items())
    assert num_untouched >= num_kept, "what was recorded is not made again"
    assert pixel_gap(alone.image.data, (folder / rows[-1]["path"]).read_bytes()) <= 1


def test_shoppers_keep_their_deadlines_while_a_batch_runs(home):
    with killable_server(home) as (ports, _), batches_at(ports) as batches:
        wanted = [Item(PRODUCT, seed=number, steps=40) for number in range(400)]
        batches.submit(wanted, request_id="large")
        until(lambda: batches.get("large").state == "running")
        with Client(ports.server, timeout_s=60) as client:
            asked = [client.generate(PRODUCT, seed=number, **LOOK) for number in range(12)]
        told: Batch = batches.get("large")
        assert all(result.source == "generated" and result.steps == 4 for result in asked)
        assert told.state == "running" and told.num_failed == 0
        assert batches.cancel("large").state == "cancelled"
        batches.wait("large", timeout_s=60)
    num_made = len(pq.read_table(home / "batches" / "large" / "manifest.parquet"))
    assert told.num_succeeded <= num_made < told.num_requests


def pixel_gap(one: bytes, other: bytes) -> int:
    first, second = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int) for data in (one, other)
    )
    return int(np.abs(first - second).max())
