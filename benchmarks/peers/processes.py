"""A system as a process of its own: started, warmed, asked, stopped. One at a time is alive."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from benchmarks.load import KINDS, Call, Crowd, Ending, Kind, Send, drive
from benchmarks.load_served import ask_by
from benchmarks.measurement import ROOT
from benchmarks.peers.crowd import World
from benchmarks.peers.servers import settings
from benchmarks.peers.servers.sampling import CROWD
from benchmarks.peers.systems import System
from etalage import AsyncClient, Retries

START_S, STOP_S = 180.0, 30.0
ENDINGS = {200: Ending.DONE, 429: Ending.REFUSED, 503: Ending.REFUSED, 504: Ending.EXPIRED}


class NotRunning(RuntimeError):
    """The system did not start; says the end of its log."""


@asynccontextmanager
async def running(
    system: System, world: World, crowd: Crowd, warming: Sequence[int], log: Path
) -> AsyncIterator[Send]:
    """Yields the way to ask the system, once it is warm: after bursts of so many calls.

    Raises NotRunning.
    """
    port = _find_ports(3)
    environment = _environment(system, world, port, max(crowd.deadlines_s.values()))
    with _process(system, port, environment, log) as process:
        async with _asking(system, world, port) as send:
            await _wait_until_ready(send, crowd, process, log)
            await _warm(send, crowd, warming)
            yield send


def has_environment(system: System) -> bool:
    return system.python.exists()


@contextmanager
def _process(
    system: System, port: int, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(system.python), *system.command]
    command += [part.format(port=port, metrics_port=port + 1) for part in system.port_options]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Politely, then with all that it started."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its own session: nobody else is in it
    process.wait()


def _environment(system: System, world: World, port: int, longest_s: float) -> dict[str, str]:
    folders = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {
        CROWD: str(world.file),
        settings.PORT: str(port),
        settings.LONGEST_S: f"{longest_s:.3f}",
        "ETALAGE_HOME": str(world.home),
        "PYTHONPATH": os.pathsep.join(folders),
        # Ray would give an actor one thread, however many cores it has.
        "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "BENTOML_DO_NOT_TRACK": "True",
    }
    if not system.is_own:
        # PyTriton's guide asks for it: Triton's Python must be the interpreter's own library.
        paths = [_find_library(system.python), os.environ.get("LD_LIBRARY_PATH")]
        told["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
    return {**os.environ, **told}


def _find_library(python: Path) -> str:
    """The folder of libpython."""
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    return subprocess.check_output([python, "-c", code], text=True).strip()


@asynccontextmanager
async def _asking(system: System, world: World, port: int) -> AsyncIterator[Send]:
    if system.path:
        yield _ask_by_http(system, world, port)
    else:
        async with AsyncClient(f"127.0.0.1:{port}", retries=Retries(max_attempts=1)) as client:
            yield ask_by(client)


def _ask_by_http(system: System, world: World, port: int) -> Send:
    async def send(call: Call) -> Ending:
        job = world.tell_job(call, time.time() + call.deadline_s)
        status, body = await _post(port, system.path, system.wrap(job, call.deadline_s))
        is_empty = status == 200 and not system.is_image(body)
        if is_empty or (status != 200 and b"imeout" in body):  # the latter from Triton's queue
            return Ending.EXPIRED
        return ENDINGS.get(status, Ending.FAILED)

    return send


async def _post(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and body; (0, b"") where the connection broke. Cancelling it hangs up."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        reply_head, _, reply = (await reader.read()).partition(b"\r\n\r\n")
        return (int(reply_head.split()[1]), reply) if reply_head else (0, b"")
    except OSError:
        return 0, b""
    finally:
        if writer is not None:
            writer.close()


async def _wait_until_ready(
    send: Send, crowd: Crowd, process: subprocess.Popen[bytes], log: Path
) -> None:
    end_s = time.monotonic() + START_S
    call = next(_warming(crowd))
    while time.monotonic() < end_s and process.poll() is None:
        with suppress(TimeoutError):
            if await asyncio.wait_for(send(call), call.deadline_s) is Ending.DONE:
                return
        await asyncio.sleep(0.25)
    lines = log.read_text("utf-8", "replace").splitlines()[-15:]
    raise NotRunning(f"status {process.poll()}\n" + "\n".join(lines))


async def _warm(send: Send, crowd: Crowd, warming: Sequence[int]) -> None:
    """What a system learns from traffic, it learns here."""
    calls = _warming(crowd)
    for size in warming:
        await drive(send, list(itertools.islice(calls, size)))


def _warming(crowd: Crowd) -> Iterator[Call]:
    """Short walks of all widths, without hurry."""
    few = min(kind.num_steps for kind in KINDS)
    widths = itertools.cycle(sorted({kind.num_terms for kind in KINDS}))
    for number, width in enumerate(widths):
        product = crowd.products[number % len(crowd.products)]
        shopper = crowd.shoppers[number % len(crowd.shoppers)]
        yield Call(0.0, Kind(few, width), product, shopper, number, 10.0)


def _find_ports(count: int) -> int:
    """The first of so many neighbouring ports that are free."""
    for first in range(21000, 29000, count + 1):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise RuntimeError("no free ports")
