"""The playground as a process of its own, a real server behind it, and a browser before it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etalage import Client, ShopEvent
from features.prepare import choose_demo_shoppers
from server.demo.process import running_server
from tests.way.conftest import SERVE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
DESKTOP = {"width": 1440, "height": 900}
PROGRAMME = """
experiments:
  - key: faces
    arms:
      - {name: original, weight: 0.5}
      - {name: bold, weight: 0.5, shows: personalized, model: fast}
"""


@dataclass(frozen=True)
class Shop:
    """A server with an experiment that a few shoppers have seen."""

    address: str
    shoppers: tuple[str, ...]
    no_consent: str


@dataclass(frozen=True)
class Shown:
    """A page, and what its console complained of."""

    page: Any
    complaints: list[str]


@contextmanager
def run_playground(server: str) -> Iterator[str]:
    """Yields the address of the page."""
    command = [sys.executable, "-m", "etalage_playground", "--port=0", f"--server={server}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("playground: http://127.0.0.1:"), line
            yield line.split()[1]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def shop(make_home: Callable[[], Path]) -> Iterator[Shop]:
    home = make_home()
    programme = home / "programme.yaml"
    programme.write_text(PROGRAMME)
    command = (*SERVE, f"--experiments.programme={programme}")
    with running_server(command, home, home / "server.log", lambda: None) as ports:
        _visit(ports.server)
        told = choose_demo_shoppers(home)
        yield Shop(ports.server, tuple(told.tastes), told.no_consent)


@pytest.fixture(scope="session")
def site(shop: Shop) -> Iterator[str]:
    with run_playground(shop.address) as address:
        yield address


@pytest.fixture(scope="module")  # no longer: while it is open, no other event loop runs here
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("there is no chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def shown(browser: Any) -> Iterator[Shown]:
    """A fresh page at a desk, which must not complain."""
    context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    page, complaints = context.new_page(), list[str]()

    def hear(said: Any) -> None:
        if said.type == "error":
            complaints.append(said.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield Shown(page, complaints)
    context.close()


def _visit(server: str) -> None:
    with Client(server, timeout_s=60) as client:
        for number in range(12):
            made = client.generate("backpack", session=f"visit-{number}", longest_side=64)
            token = made.image.exposure_token
            client.record([ShopEvent("render", token), ShopEvent("click", token)])


def find_axe() -> Path | None:
    """axe-core, where somebody has put it: it is no part of what is installed."""
    told = os.environ.get("AXE", "out/npm/node_modules/axe-core/axe.min.js")
    return path if (path := Path(told)).is_file() else None
