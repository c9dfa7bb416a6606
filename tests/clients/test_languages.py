"""The example of each language asks a real server: it personalizes, is refused, and comes back."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from deploy.stubs import LANGUAGES, find_missing
from etalage import Accepted, Client
from features.prepare import DemoShoppers, choose_demo_shoppers
from server.access.keys import hash_key, make_key
from server.demo.process import running_server

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
PLACES = 8


@dataclass(frozen=True)
class Toolchain:
    """How an example is built in its folder and started, and what else must be there for that."""

    build: tuple[str, ...]
    start: tuple[str, ...]
    commands: tuple[str, ...] = ("make",)
    files: tuple[Path, ...] = ()

    def why_not(self) -> str:
        """Why it can't be built here; empty where it can."""
        missing = [each for each in self.commands if not shutil.which(each)]
        missing += [str(each) for each in self.files if not each.exists()]
        return ", ".join(missing)


TOOLCHAINS = {
    "typescript": Toolchain(
        ("npm", "run", "--silent", "build"), ("node", "dist/example.js"), ("npm", "node")
    ),
    "java": Toolchain(
        ("make", "--silent"),
        ("java", "-jar", "build/example.jar"),
        ("make", "javac", "jar"),
        (Path("/usr/share/java/grpc-netty.jar"), Path("/usr/share/java/netty-codec-http2.jar")),
    ),
    "cpp": Toolchain(
        ("make", "--silent", "-j2"),
        ("build/example",),
        ("make", "g++", "pkg-config"),
        (Path("/usr/include/grpcpp/grpcpp.h"),),
    ),
    "go": Toolchain(
        ("make", "--silent"),
        ("build/example",),
        ("make", "go"),
        (Path("/usr/share/gocode/src/google.golang.org/grpc"),),
    ),
}


@dataclass(frozen=True)
class Shop:
    """A server with two tenants: one may make PLACES images at once, the other has spent its quota
    for minutes to come."""

    address: str
    shoppers: DemoShoppers
    key: str
    spent_key: str

    @contextmanager
    def fully_taken(self) -> Iterator[None]:
        """Nobody else finds a place until the block ends."""
        with Client(self.address, api_key=self.key, timeout_s=300) as client:
            news: Any = client.stream(
                "backpack", num_images=PLACES, steps=100, sampler="heun", seed=1
            )
            assert isinstance(next(news), Accepted)
            try:
                yield
            finally:
                news.close()


@pytest.fixture(scope="module")
def shop(make_home: Callable[[], Path]) -> Iterator[Shop]:
    home = make_home()
    key, spent_key, tenants = make_key(), make_key(), home / "tenants.yaml"
    told = [
        write_tenant("shop", key, {"concurrent_images": PLACES}),
        write_tenant("spent", spent_key, {"images_per_minute": 1}),
    ]
    tenants.write_text(yaml.safe_dump({"tenants": told}))
    command = [sys.executable, "-m", "server", "serve"]
    command += ["--server.port=0", "--server.admin_port=0", "--server.metrics_port=0"]
    command += ["--engine.threads=1", "--engine.buckets=3,8"]  # few to warm
    command += ["--drain.lame_duck_s=0", "--features.timeout_s=5", f"--access.tenants={tenants}"]
    with running_server(command, home, home / "server.log", lambda: None) as ports:
        with Client(ports.server, api_key=spent_key, timeout_s=120) as client:
            client.generate("teapot", num_images=PLACES, steps=1)
        yield Shop(ports.server, choose_demo_shoppers(home), key, spent_key)


def write_tenant(name: str, key: str, quotas: dict[str, int]) -> dict[str, Any]:
    return {"name": name, "scopes": ["generate"], "keys": [hash_key(key)], "quotas": quotas}


def signed(key: str) -> dict[str, str]:
    return os.environ | {"ETALAGE_API_KEY": key}


@dataclass(frozen=True)
class Example:
    folder: Path
    start: tuple[str, ...]

    def command(self, shop: Shop, user: str, out: Path, *products: str) -> list[str]:
        return [*self.start, shop.address, user, str(out), *products]


@pytest.fixture(scope="module", params=TOOLCHAINS)
def example(request: pytest.FixtureRequest) -> Example:
    """Generated and built, one language after the other."""
    name: str = request.param
    toolchain = TOOLCHAINS[name]
    if missing := ", ".join(filter(None, [*find_missing(LANGUAGES[name]), toolchain.why_not()])):
        pytest.skip(f"{name}: there is no {missing}")
    folder = CLIENTS / name
    subprocess.run([sys.executable, "-m", "deploy.stubs", name], cwd=ROOT, check=True)
    built = subprocess.run(toolchain.build, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return Example(folder, toolchain.start)


def test_an_example_personalizes_a_slate_and_says_what_failed(example, shop, tmp_path):
    user = next(iter(shop.shoppers.tastes))
    out = tmp_path / "new" / "slate"
    command = example.command(shop, user, out, "handbag", "no-such-product", "bicycle")
    done = subprocess.run(
        command, cwd=example.folder, env=signed(shop.key), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert told.keys() == {"0 handbag", "1 no-such-product", "2 bicycle"}
    assert told["1 no-such-product"] == "failed, PRODUCT_NOT_FOUND"
    for what, name in (("0 handbag", "0.png"), ("2 bicycle", "2.png")):
        arm, reason, path = told[what].split(", ")
        assert arm == "personalized"
        assert re.fullmatch("(REASON_)?APPLIED", reason)
        assert Path(path) == out / name
        assert Image.open(io.BytesIO((out / name).read_bytes())).size == (512, 512)
    assert len(list(out.iterdir())) == 2


def test_an_example_that_is_refused_comes_back_when_it_was_told_to(example, shop, tmp_path):
    command = example.command(shop, shop.shoppers.no_consent, tmp_path, "teapot")
    pipe = subprocess.PIPE
    with shop.fully_taken():
        process = subprocess.Popen(
            command, cwd=example.folder, env=signed(shop.key), stdout=pipe, stderr=pipe, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()
    with process:
        told, errors = process.communicate(timeout=60)
    assert (first, process.returncode) == ("refused, again in 1000 ms\n", 0), errors
    path = tmp_path / "0.png"
    assert re.fullmatch(
        f"0 teapot: personalized, (REASON_)?NO_CONSENT, {path}", told.splitlines()[-1]
    )
    assert path.exists()


def test_an_example_gives_up_where_its_deadline_comes_before_that(example, shop, tmp_path):
    command = example.command(shop, "", tmp_path, "teapot")
    done = subprocess.run(
        command, cwd=example.folder, env=signed(shop.spent_key), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the quota of 1 images per minute is spent" in done.stderr
    assert not list(tmp_path.iterdir())


def test_stubs_and_example_of_csharp_can_be_parsed():
    missing = [*find_missing(LANGUAGES["csharp"]), *(() if shutil.which("mcs") else ("mcs",))]
    if missing:
        pytest.skip(f"csharp: there is no {', '.join(missing)}")
    subprocess.run([sys.executable, "-m", "deploy.stubs", "csharp"], cwd=ROOT, check=True)
    sources = sorted(str(path) for path in (CLIENTS / "csharp").rglob("*.cs"))
    assert len(sources) == 1 + len(list((ROOT / "protos").rglob("*.proto")))
    subprocess.run(["mcs", "--parse", "-langversion:latest", *sources], check=True)
