"""What is shipped: its public names, and that it needs nothing but grpcio and protobuf."""

import json
import os
import shutil
import subprocess
import sys
import types
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import etalage
from tests.clients.scripted import PIXEL, serve, succeed

SOURCE = Path(__file__).parents[2] / "clients" / "python"
MAX_WHEEL_BYTES = 200_000
NEEDED = "grpcio", "protobuf", "typing_extensions"
"""Of which the last is needed by grpcio."""

LIST_MODULES = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
standard = sys.stdlib_module_names
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - standard)))
"""


def test_all_is_complete_and_sorted():
    public = {
        name
        for name, value in vars(etalage).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(etalage.__all__) == public
    constants = [name for name in etalage.__all__ if name.isupper()]
    others = [name for name in etalage.__all__ if not name.isupper()]
    assert etalage.__all__ == sorted(constants) + sorted(others)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(SOURCE, folder / "source", ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
               "--no-build-isolation", "--disable-pip-version-check",
               "-w", str(folder), str(folder / "source")]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("etalage-*.whl"))


def test_the_wheel_holds_the_package_its_stubs_and_its_types(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("py.typed", "client.py", "aio.py", "v1/images_pb2.py", "v1/images_pb2.pyi"):
        assert f"etalage/{name}" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"etalage"}


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size <= MAX_WHEEL_BYTES


def test_the_wheel_has_the_version_of_its_file(wheel):
    version = (SOURCE / "VERSION").read_text("utf-8").strip()
    assert wheel.name == f"etalage-{version}-py3-none-any.whl"


def test_the_wheel_installs_beside_grpcio_and_protobuf_alone_and_makes_images(wheel, tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment)
    (packages,) = environment.glob("lib/python*/site-packages")
    for name in NEEDED:
        link_distribution(name, packages)
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    command += ["install", "--quiet", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    with serve(succeed) as (server, _):
        command = [str(environment / "bin" / "etalage"), "generate", "--product", "wrench"]
        command += ["--server", server, "-o", "wrench.png"]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env={})
    assert (tmp_path / "wrench.png").read_bytes() == PIXEL


def link_distribution(name: str, packages: Path) -> None:
    for file in metadata.distribution(name).files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            (packages / file).parent.mkdir(parents=True, exist_ok=True)
            (packages / file).symlink_to(Path(str(file.locate())).resolve())


def test_the_wheel_imports_with_grpcio_and_protobuf_alone(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def run(script: str, *arguments: str) -> str:
        command = [sys.executable, "-P", "-c", script, *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    assert Path(run("import etalage; print(etalage.__file__)")).is_relative_to(tmp_path)
    allowed = json.loads(run(LIST_MODULES, "grpc", "grpc.aio", "google.protobuf"))
    imported = json.loads(run(LIST_MODULES, "etalage", "etalage.cli"))
    assert set(imported) - set(allowed) == {"etalage"}


@pytest.mark.parametrize(
    "order", ["etalage, google.rpc.status_pb2", "google.rpc.status_pb2, etalage"]
)
def test_error_details_do_not_quarrel_with_googleapis(order):
    script = f"import {order}, google.rpc.error_details_pb2"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
