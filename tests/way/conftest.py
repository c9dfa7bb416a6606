"""One real server for all tests of the way: a process of its own, a world of its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from etalage import AsyncClient, Client
from features.prepare import DemoShoppers, choose_demo_shoppers, prepare_world
from features.store import StoreConfig
from server.demo.process import Ports, running_server, scrape

SERVE = (
    *(sys.executable, "-m", "server", "serve"),
    *("--server.port=0", "--server.admin_port=0", "--server.metrics_port=0"),
    "--drain.lame_duck_s=0",
    *("--logging.format=json", "--engine.max_rows=160"),
    "--features.timeout_s=5",  # other tests take the cores
)


@dataclass(frozen=True)
class Running:
    ports: Ports
    shoppers: DemoShoppers
    log: Path

    @property
    def address(self) -> str:
        return self.ports.server

    def metric(self, line: str) -> float:
        """The value of one line of a scrape, 0 where there is none yet."""
        for text in scrape(self.ports).decode().splitlines():
            if text.startswith(line + " "):
                return float(text.rsplit(" ", 1)[1])
        return 0.0


@pytest.fixture(scope="session")
def make_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Homes that hold the embedded world, which is made once for all who test side by side."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    config = StoreConfig(home=shared / "furnished")
    prepare_world(config, Encoders.load(DEFAULT_CHECKPOINT / "encoders"), progress=False)

    def make_home() -> Path:
        home = tmp_path_factory.mktemp("home")
        return shutil.copytree(config.home, home, dirs_exist_ok=True)

    return make_home


@pytest.fixture(scope="session")
def running(make_home: Callable[[], Path]) -> Iterator[Running]:
    home = make_home()
    log = home / "server.log"
    with running_server(SERVE, home, log, lambda: None) as ports:
        yield Running(ports, choose_demo_shoppers(home), log)


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.address, timeout_s=60) as client:
        yield client


@pytest.fixture
async def async_client(running: Running):
    async with AsyncClient(running.address, timeout_s=90) as client:
        yield client
