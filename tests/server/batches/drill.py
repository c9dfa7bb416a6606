"""A server process for batches with a pipeline of a few lines, of which an image takes `DRILL_S`
seconds: `python -m tests.server.batches.drill FLAGS`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from server.commands.serve import Built, serve
from server.commands.settings import add_flags, configuration_from
from server.configuration import Configuration
from server.core import ModelCard
from server.metrics import Metrics
from tests.server.doors.sketching import STEPS, Sketcher


@asynccontextmanager
async def build(configuration: Configuration, metrics: Metrics) -> AsyncIterator[Built]:
    sketcher: Any = Sketcher()
    sketcher.pace_s = float(os.environ.get("DRILL_S", "0")) / STEPS
    card = ModelCard("sketch", "fedcba9876543210")
    yield Built(sketcher, card, lambda: True, count_rows=lambda: sketcher.num_running)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", type=Path)
    add_flags(parser)
    arguments = parser.parse_args()
    sys.exit(serve(configuration_from(arguments), build, arguments.port_file))
