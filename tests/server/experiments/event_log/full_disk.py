"""Fills a small file system with events: `python -m tests.server.experiments.event_log.full_disk
FOLDER`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.events import Receipt
from tests.server.experiments.event_log.happenings import click, read_claims, read_ids
from tests.server.experiments.event_log.test_failures import fill


async def main(folder: Path) -> None:
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(300 * 1024))
    engine = open_events(f"sqlite:///{folder / 'events.db'}")
    log = EventLog(engine)
    log.start()
    kept = await fill(log)
    assert kept and read_ids(engine) == dict.fromkeys(kept, 1)
    assert read_claims(engine) == set(kept)
    ballast.unlink()
    assert await log.append([click("again"), click(kept[0])]) == Receipt(1, 1)
    assert read_ids(engine) == dict.fromkeys([*kept, "again"], 1)
    await log.close()
    print("full, and then not")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
