"""A real PostgreSQL on a free port of this machine, where there is one; it can be killed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where Debian has what is not for everybody's path."""

DURABLE = ("-c", "shared_buffers=16MB", "-c", "max_connections=40")
LIGHT = (*DURABLE, "-c", "fsync=off")


def find_program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ["PATH"], *map(str, BINARIES))))


def why_not() -> str:
    """Why there is none; empty where there is."""
    if find_program("initdb") is None or find_program("postgres") is None:
        return "there is no PostgreSQL on this machine"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    return ""


@dataclass(slots=True)
class Postgresql:
    """A server with an empty database."""

    folder: Path
    settings: Sequence[str]
    user: str | None
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://etalage@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        make = [find_program("initdb") or "", "-D", str(self.folder / "data"), "-U", "etalage"]
        make += ["-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(make, user=self.user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def start(self) -> None:
        command = [find_program("postgres") or "", "-D", str(self.folder / "data")]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.settings], user=self.user, cwd=self.folder, stderr=log
            )
        self._wait()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Whoever is connected is sent away; SIGQUIT for a stop without a shutdown."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(30)

    def _wait(self) -> None:
        import psycopg

        assert self.process is not None
        give_up_s = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url.replace("+psycopg", "")).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None and time.monotonic() < give_up_s
                time.sleep(0.05)


@contextmanager
def running(settings: Sequence[str] = LIGHT) -> Iterator[Postgresql]:
    """It refuses to be root's."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="etalage-") as folder:  # pytest's own are root's
        if user is not None:
            shutil.chown(folder, user)
        server = Postgresql(Path(folder), settings, user)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
