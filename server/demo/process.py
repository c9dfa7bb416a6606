"""The server as a process of its own: start, wait until it is ready, scrape, stop."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etalage import Client

READY_TIMEOUT_S = 240.0  # a first start prepares the world
STOP_TIMEOUT_S = 60.0
POLL_S = 0.1


class ServerFailed(RuntimeError):
    """The server did not start, or did not stop as it should; says the end of its log."""


@dataclass(frozen=True, slots=True)
class Ports:
    grpc: int
    admin: int
    metrics: int
    health: int

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.grpc}"


@contextmanager
def running_server(
    command: Sequence[str], home: Path, log: Path, on_wait: Callable[[], object]
) -> Iterator[Ports]:
    """Runs the server until the block ends, then stops it by SIGTERM and checks its exit status.

    `command` gets `--port-file FILE` appended. Raises ServerFailed.
    """
    port_file = log.with_suffix(".ports")
    port_file.unlink(missing_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--port-file", str(port_file)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=inherit_environment(home),
        )
    try:
        yield _wait_until_ready(process, port_file, log, on_wait)
        _stop(process, log)
    finally:
        if process.poll() is None:
            _end(process)
        port_file.unlink(missing_ok=True)


def scrape(ports: Ports) -> bytes:
    """The metrics, as Prometheus would get them."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{ports.metrics}/metrics", timeout=10) as reply:
        text: bytes = reply.read()
    return text


def inherit_environment(home: Path) -> dict[str, str]:
    # ETALAGE_SERVER speaks to the client, and this demonstration starts a server of its own.
    inherited = {name: value for name, value in os.environ.items() if name != "ETALAGE_SERVER"}
    return inherited | {"ETALAGE_HOME": str(home)}


def _wait_until_ready(
    process: subprocess.Popen[bytes], port_file: Path, log: Path, on_wait: Callable[[], object]
) -> Ports:
    end_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            raise ServerFailed(f"the server ended with status {process.returncode}\n{_tail(log)}")
        ports = _read_ports(port_file)
        if ports is not None and _is_serving(ports):
            return ports
        on_wait()
        time.sleep(POLL_S)
    raise ServerFailed(f"the server was not ready within {READY_TIMEOUT_S:.0f} s\n{_tail(log)}")


def _read_ports(port_file: Path) -> Ports | None:
    try:
        ports = json.loads(port_file.read_text())
        return Ports(**ports)
    except (FileNotFoundError, json.JSONDecodeError):
        return None  # not there yet, or half written


def _is_serving(ports: Ports) -> bool:
    with Client(ports.server) as client:
        return client.is_serving()


def _stop(process: subprocess.Popen[bytes], log: Path) -> None:
    status = _end(process)
    if status != 0:
        raise ServerFailed(f"the server stopped with status {status}\n{_tail(log)}")


def _end(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _tail(log: Path, num_lines: int = 20) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-num_lines:]
    return "\n".join(f"  {line}" for line in lines)
