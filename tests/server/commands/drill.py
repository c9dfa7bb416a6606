"""A server process with a pipeline of a few lines: `python -m tests.server.commands.drill FLAGS`.

An image takes a tenth of a second. `DRILL` in the environment makes building fail or hang, or the
engine be lost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from server.commands.serve import Built, serve
from server.commands.settings import add_flags, configuration_from
from server.configuration import Configuration
from server.core import ModelCard
from server.metrics import Metrics
from server.sampling.revival import EngineLost
from tests.server.doors.sketching import Sketcher
from tests.server.model_shop import Shop


@asynccontextmanager
async def build(configuration: Configuration, metrics: Metrics) -> AsyncIterator[Built]:
    if os.environ.get("DRILL") == "hang":
        await asyncio.sleep(600)
    if os.environ.get("DRILL") == "fail":
        raise FileNotFoundError("no model in /nowhere")
    sketcher = Sketcher()
    sketcher.pace_s = 0.025
    print("built", flush=True)
    models = Shop(Path()).models()
    card = ModelCard("sketch", "fedcba9876543210")
    is_lost = os.environ.get("DRILL") == "lost"
    revive = lose if is_lost else None
    yield Built(sketcher, card, lambda: not is_lost, models.names(), models, revive=revive)
    print("taken down", flush=True)


async def lose() -> None:
    raise EngineLost("no engine runs, and to start one again did not help")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", type=Path)
    add_flags(parser)
    arguments = parser.parse_args()
    sys.exit(serve(configuration_from(arguments), build, arguments.port_file))
