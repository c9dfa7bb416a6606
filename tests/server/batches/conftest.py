"""A real PostgreSQL on a free port of this machine, where there is one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where Debian has what is not for everybody's path."""

LIGHT = ("-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40")


def find_program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ["PATH"], *map(str, BINARIES))))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server with an empty database; it refuses to be root's."""
    initdb, server = find_program("initdb"), find_program("postgres")
    if initdb is None or server is None:
        pytest.skip("there is no PostgreSQL on this machine")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed")
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="etalage-") as folder:  # pytest's own are root's
        if user is not None:
            shutil.chown(folder, user)
        data = Path(folder) / "data"
        make = [initdb, "-D", str(data), "-U", "etalage", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(make, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [server, "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([*command, *LIGHT], user=user, cwd=folder, stderr=log)
        try:
            url = f"postgresql+psycopg://etalage@127.0.0.1:{port}/postgres"
            wait_for(url, process)
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # whoever is connected still is sent away
            process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    give_up_s = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url.replace("+psycopg", "")).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None and time.monotonic() < give_up_s
            time.sleep(0.05)
