"""Servers that are asked to stop while calls come in: who is lost.

The server process of the tests, whose image takes a tenth of a second, behind the whole door. A
call that was let in and got no answer is lost; one that was refused was told when to come back.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from benchmarks.measurement import ROOT, Report
from etalage import AsyncClient, EtalageError, Retries, Unavailable

DRILL = (sys.executable, "-m", "tests.server.commands.drill", "--logging.format=json")
ONCE = Retries(max_attempts=1)
CALLS_PER_S = 200.0
LAME_DUCK_S = 0.3
STOP_S = 30.0
CANCELLED = "CANCELLED "
"""With no reason of ours: nobody here said so (grpc#41785)."""

FOUND_S = 1.5
"""So long after one server is back the next one stops: clients look for it once a second."""


@dataclass(frozen=True, slots=True)
class Drill:
    process: Process
    port: int
    output: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Politely; raises RuntimeError where it does not end well."""
        self.process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(self.process.wait(), STOP_S)
        if status != 0:
            raise RuntimeError(f"status {status}\n{self.output.read_text()[-2000:]}")

    def count(self, event: str) -> Counter[str]:
        """Calls of that event in its log, by their codes."""
        lines = self.output.read_text("utf-8").splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return Counter(str(line["code"]) for line in told if line.get("event") == event)


@asynccontextmanager
async def running_drill(folder: Path, port: int = 0) -> AsyncIterator[Drill]:
    """A server that answers."""
    folder.mkdir(parents=True, exist_ok=True)
    ports, output = folder / "ports", folder / "output"
    ports.unlink(missing_ok=True)
    flags = [f"--server.port={port}", "--server.admin_port=0", "--server.metrics_port=0"]
    flags += [f"--drain.lame_duck_s={LAME_DUCK_S}", "--port-file", str(ports)]
    with output.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *DRILL,
            *flags,
            cwd=ROOT,
            env=os.environ | {"ETALAGE_HOME": str(folder)},
            stdout=sink,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        async with asyncio.timeout(60):
            while not ports.exists():
                if process.returncode is not None:
                    raise RuntimeError(output.read_text())
                await asyncio.sleep(0.02)
            drill = Drill(process, int(json.loads(ports.read_text())["grpc"]), output)
            async with AsyncClient(drill.address) as client:
                while not await client.is_serving():
                    await asyncio.sleep(0.02)
        yield drill
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def call_on(
    client: AsyncClient, until: asyncio.Event, calls_per_s: float = CALLS_PER_S
) -> Counter[str]:
    """An open loop of calls until it is told to end; what became of them, by a word each."""
    calls: list[asyncio.Task[str]] = []
    due_s = time.perf_counter()
    while not until.is_set():
        calls.append(asyncio.create_task(_call(client, len(calls))))
        due_s += 1 / calls_per_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
    return Counter(await asyncio.gather(*calls))


async def _call(client: AsyncClient, number: int) -> str:
    try:
        await client.generate("chair", seed=number, timeout_s=20)
    except Unavailable as error:
        return "refused" if error.reason == "STOPPING" else "nobody there"
    except EtalageError as error:
        return f"{error.code} {error.reason}"
    return "answered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What callers saw, by a word each, and the codes with which servers say that calls which were
    let in have ended."""

    endings: Counter[str]
    let_in: Counter[str]

    @property
    def num_lost(self) -> int:
        """Let in and not answered, or answered and not heard."""
        num_answered = self.let_in["OK"]
        num_unanswered = self.let_in.total() - num_answered
        return num_unanswered + abs(num_answered - self.endings["answered"])

    @property
    def num_cancelled_unseen(self) -> int:
        """By gRPC while it closed, before the server saw them: clients may try again."""
        return self.endings[CANCELLED] - self.let_in["CANCELLED"]

    @property
    def num_odd(self) -> int:
        """Ended in another way than a call without retries may."""
        expected = self.endings["refused"] + self.endings["nobody there"]
        return self.num_failed - expected - self.num_cancelled_unseen

    @property
    def num_failed(self) -> int:
        return self.endings.total() - self.endings["answered"]


async def stop_once(folder: Path, before_s: float = 0.3) -> Outcome:
    """One stop under load, without retries."""
    async with running_drill(folder) as drill:
        async with AsyncClient(drill.address, retries=ONCE) as client:
            until = asyncio.Event()
            calling = asyncio.create_task(call_on(client, until))
            await asyncio.sleep(before_s)
            await drill.stop()
            until.set()
            endings = await calling
    if not endings["answered"]:
        raise RuntimeError(f"nobody was answered: {endings}")
    return Outcome(endings, drill.count("answered"))


async def roll(folder: Path, num_rounds: int) -> Outcome:
    """Two servers are stopped and started again, one after the other, while a client that knows
    both asks, with its own retries."""
    ports = find_ports(2)
    let_in: Counter[str] = Counter()
    until = asyncio.Event()
    stops = [[asyncio.Event() for _ in range(num_rounds)] for _ in ports]
    ready = [[asyncio.Event() for _ in range(num_rounds + 1)] for _ in ports]

    async def keep(number: int) -> None:
        for each in range(num_rounds + 1):
            async with running_drill(folder / f"{number}-{each}", ports[number]) as drill:
                ready[number][each].set()
                await (stops[number][each].wait() if each < num_rounds else until.wait())
                await drill.stop()
            let_in.update(drill.count("answered"))

    drills = [asyncio.create_task(keep(number)) for number in range(len(ports))]
    await _wait_all(drills, [events[0] for events in ready])
    async with AsyncClient(",".join(f"127.0.0.1:{port}" for port in ports)) as client:
        enough = asyncio.Event()
        calling = asyncio.create_task(call_on(client, enough, CALLS_PER_S / 2))
        for each in range(num_rounds):
            for number in range(len(ports)):
                stops[number][each].set()
                await _wait_all(drills, [ready[number][each + 1]])
                await asyncio.sleep(FOUND_S)
        enough.set()
        endings = await calling
    until.set()
    await asyncio.gather(*drills)
    return Outcome(endings, let_in)


async def _wait_all(drills: list[asyncio.Task[None]], events: list[asyncio.Event]) -> None:
    """Raises what a server that did not run raised."""
    waiting: asyncio.Future[Any] = asyncio.gather(*(event.wait() for event in events))
    both: list[asyncio.Future[Any]] = [waiting, *drills]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for drill in drills:
        if drill.done():
            waiting.cancel()
            drill.result()
    await waiting


def find_ports(count: int) -> list[int]:
    """Free ones of this machine."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def measure(report: Report, is_quick: bool) -> None:
    asyncio.run(_measure(report, is_quick))


async def _measure(report: Report, is_quick: bool) -> None:
    num_rounds, num_restarts = (0, 1) if is_quick else (50, 5)
    with TemporaryDirectory(prefix="etalage-") as name:
        folder = Path(name)
        stops = [
            await stop_once(folder / f"round-{number}")
            for number in tqdm(range(num_rounds), "drains", leave=False)
        ]
        rolled = await roll(folder / "rolling", num_restarts)
    for each in (*stops, rolled):
        if each.num_lost or (each is not rolled and each.num_odd):
            tqdm.write(f"lost or odd: {each}")
    lost = sum(each.num_lost for each in (*stops, rolled))
    report.add("drain.lost", [lost], "calls", target=0, better="lower")
    cancelled = sum(each.num_cancelled_unseen for each in stops)
    report.add("drain.cancelled_unseen", [cancelled], "calls", better="lower")
    odd = sum(each.num_odd for each in stops)
    report.add("drain.ended_oddly", [odd], "calls", target=0, better="lower")
    report.add("rolling_restart.failed", [rolled.num_failed], "calls", target=0, better="lower")
    report.add("rolling_restart.calls", [rolled.endings.total()], "calls")
    report.environment |= {"drain_rounds": num_rounds, "restarts_of_each_server": num_restarts}
