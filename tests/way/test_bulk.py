"""Bulk beside a running server: real processes, a real engine, a small model and a small shop.

The bytes are the same whatever shares a batch, in whichever process, in shards, and on actors of a
local Ray with one thread each; and those of a server in strict mode.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from diffusion.encoders import Encoders
from etalage import Client, Product
from features.prepare import WorldSize, prepare_world
from features.store import StoreConfig
from server.demo.process import running_server
from tests.diffusion.tiny import save_checkpoint
from tests.features.pictures import draw_picture, make_shop, to_png, write_jsonl
from tests.way.conftest import SERVE

SIZE = WorldSize(num_shoppers=8, num_creatives=16)
SIDE = 96
ROWS: list[dict[str, Any]] = [
    {
        "request_id": f"p{number % 6} for {number}",
        "product_id": f"p{number % 6}",
        "user_id": f"shopper-{number % 5:05d}",
        "seed": number,
        "steps": 3 + number % 3,
        "strength": (number % 4) / 3,
        "longest_side": SIDE,
    }
    for number in range(24)
]
BALL: dict[str, Any] = {
    "request_id": "ball",
    "title": "Red ball",
    "packshot": "ball.png",
    "longest_side": SIDE,
}
LOST = {"request_id": "lost", "product_id": "p99"}


@dataclass(frozen=True)
class World:
    folder: Path
    flags: tuple[str, ...]

    def bulk(self, *arguments: object, status: int = 1) -> str:
        """What it printed; one row of the file fails."""
        command = [sys.executable, "-m", "server", "bulk", *map(str, arguments), *self.flags]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, cwd=self.folder, env=ENVIRONMENT
        )
        assert done.returncode == status, done.stderr[-4000:]
        return done.stdout

    @property
    def requests(self) -> Path:
        return self.folder / "requests.jsonl"


ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'clients' / 'python'}"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    checkpoint = save_checkpoint(folder / "checkpoint")
    config = StoreConfig(home=folder / "home")
    encoders = Encoders.load(checkpoint / "encoders")
    prepare_world(config, encoders, size=SIZE, catalogue=make_shop(folder / "shop"), progress=False)
    # Told where its features are, nobody fills the store with the whole embedded world.
    store = {"type": "sqlite", "path": str(config.folder / "online.db")}
    (folder / "ball.png").write_bytes(to_png(draw_picture()))
    write_jsonl(folder / "requests.jsonl", *ROWS, BALL, LOST)
    flags = (
        *("--model.checkpoint", str(checkpoint), "--features.home", str(config.home)),
        *("--features.online_store", json.dumps(store), "--logging.level", "warning"),
    )
    return World(folder, flags)


@pytest.fixture(scope="module")
def served(world: World) -> dict[str, bytes]:
    """What a running server answers, one request after the other."""
    home = world.folder / "home"
    flags = (*SERVE, *world.flags, "--engine.strict", "true")
    with running_server(flags, home, home / "server.log", lambda: None) as ports:
        return dict(ask_all(ports.server))


def ask_all(address: str) -> Iterator[tuple[str, bytes]]:
    with Client(address, timeout_s=60) as client:
        for row in ROWS:
            told = {name: row[name] for name in ("seed", "steps", "strength", "longest_side")}
            result = client.generate(row["product_id"], user=row["user_id"], **told)
            yield row["request_id"], result.image.data
        ball = Product(BALL["title"], to_png(draw_picture()))
        yield "ball", client.generate(ball, longest_side=SIDE).image.data


@pytest.fixture(scope="module")
def whole(world: World) -> Path:
    out = world.folder / "whole"
    told = world.bulk(world.requests, out)
    assert told.startswith("bulk: 25 of 26 rows are done, 0 of them before; 25 images; ")
    return out


def images(out: Path, manifest: str = "manifest.parquet") -> dict[str, bytes]:
    rows = pq.read_table(out / manifest).to_pylist()
    return {row["name"]: (out / row["path"]).read_bytes() for row in rows}


def test_an_image_is_the_one_that_the_server_gives_for_the_same_request(whole, served):
    # Nothing was trained in this world: most of what it makes is broken, and packshots are shown.
    assert len(served) == 25 and len(set(served.values())) > 1
    assert images(whole) == served
    rows = pq.read_table(whole / "manifest.parquet").to_pylist()
    assert {row["reason"] for row in rows} >= {"applied", "strength_zero", "anonymous"}
    assert json.loads((whole / "failures.jsonl").read_text())["reason"] == "PRODUCT_NOT_FOUND"


def test_shards_with_another_number_under_way_make_the_same_bytes(world, whole):
    out = world.folder / "shards"
    found: dict[str, bytes] = {}
    statuses = []
    for number in (1, 2):
        shard = "--shard", f"{number}/2", "--in-flight", str(number)
        failed = int(number == shard_of_lost())
        world.bulk(world.requests, out, *shard, status=failed)
        statuses.append(failed)
        found |= images(out, f"manifest-{number}-of-2.parquet")
    assert sum(statuses) == 1 and found == images(whole)


def shard_of_lost() -> int:
    from server.bulk.shard import Shard

    return 1 if Shard(1, 2).has("lost") else 2


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_two_actors_of_ray_go_on_where_another_run_ended_and_make_the_same_bytes(world, whole):
    out = world.folder / "ray"
    write_jsonl(world.folder / "first.jsonl", *ROWS[:10], LOST)
    told = world.bulk(world.folder / "first.jsonl", out)
    assert told.startswith("bulk: 10 of 11 rows are done, 0 of them before; 10 images; ")
    actors = "--engine", "ray", "--num-actors", "2", "--in-flight", "4"
    told = world.bulk(world.requests, out, *actors)
    assert told.startswith("bulk: 25 of 26 rows are done, 10 of them before; 25 images; ")
    assert images(out) == images(whole)
    assert (out / "failures.jsonl").read_bytes() == (whole / "failures.jsonl").read_bytes()
