"""A process that appends until it is killed: `python -m tests.server.experiments.event_log.drill
URL ACKNOWLEDGED FIRST`.

Batch after batch is appended, several at once, each again until it is acknowledged; then its number
is added to the file ACKNOWLEDGED. Whatever process it is, batch `n` has the same events.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from server.errors import Unavailable
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.event_log.tables import exposures, outcomes
from server.experiments.events import Event, EventKind, Exposure

NUM_EVENTS = 40
NUM_CALLERS = 6

NOW_S = 1_700_000_000.0
_KINDS = (EventKind.RENDER, EventKind.CLICK, EventKind.RENDER, EventKind.PURCHASE)


def make_batch(number: int) -> list[Event]:
    return [make_event(number * NUM_EVENTS + n) for n in range(NUM_EVENTS)]


def make_event(number: int) -> Event:
    name = f"{number:012d}"
    seen = Exposure(name, NOW_S, f"unit-{number % 97}", "personalized", "handbag", number)
    return Event(name, _KINDS[number % len(_KINDS)], NOW_S, seen)


@dataclass(slots=True)
class Drill:
    """A process, killed and started again, and what is to be found of its events."""

    url: str
    acknowledged: Path

    def start(self) -> subprocess.Popen[bytes]:
        """It begins a little before what is not acknowledged: much of that is known."""
        first = max(0, max(self.read_acknowledged(), default=0) - 2 * NUM_CALLERS)
        command = [sys.executable, "-m", __name__, self.url, str(self.acknowledged), str(first)]
        return subprocess.Popen(command)

    def wait_for_work(self, process: subprocess.Popen[bytes], draw: random.Random) -> None:
        """Until some more was acknowledged, and some moment after that."""
        goal = len(self.read_acknowledged()) + draw.randrange(1, 20)
        give_up_s = time.monotonic() + 120
        while len(self.read_acknowledged()) < goal:
            assert process.poll() is None and time.monotonic() < give_up_s
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.05))

    def kill_at_work(self, draw: random.Random) -> None:
        """The life of one process."""
        process = self.start()
        self.wait_for_work(process, draw)
        process.kill()
        process.wait()

    def read_acknowledged(self) -> set[int]:
        text = self.acknowledged.read_text() if self.acknowledged.exists() else ""
        return {int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")}

    def count_lost(self, engine: Engine) -> int:
        """Events that were acknowledged and are not there."""
        numbers = self.read_acknowledged()
        return len({e.event_id for n in numbers for e in make_batch(n)} - read_ids(engine).keys())


def count_doubled(engine: Engine) -> int:
    return sum(count - 1 for count in read_ids(engine).values())


def read_ids(engine: Engine) -> Counter[str]:
    with engine.connect() as connection:
        tables = (exposures, outcomes)
        return Counter(
            name for table in tables for name in connection.execute(table.select()).scalars(1)
        )


async def append_all(log: EventLog, numbers: Iterable[int], acknowledged: int) -> None:
    for number in numbers:
        while True:
            try:
                await log.append(make_batch(number))
            except Unavailable:
                await asyncio.sleep(0.02)
            else:
                os.write(acknowledged, f"{number}\n".encode())
                break


async def main(url: str, acknowledged: Path, first: int) -> None:
    log = EventLog(open_events(url))
    log.start()
    file = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    numbers = itertools.count(first)
    await asyncio.gather(*(append_all(log, numbers, file) for _ in range(NUM_CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
