"""`python -m server bulk` with a pipeline of a few lines: `python -m tests.server.bulk.drill …`.

An image takes `DRILL_S` seconds and is `DRILL_BYTES` long, `DRILL` makes building fail, and each
build is a line of the file `DRILL_BUILDS`: all of the environment. Products that misbehave do so
here.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from server.__main__ import main
from server.commands.serve import Built
from server.commands.start_failed import StartFailed
from server.configuration import Configuration
from server.core import ImageRequest, ImageResult, ModelCard
from server.metrics import Metrics
from tests.server.doors.sketching import STEPS, Sketcher


class Drill(Sketcher):
    async def generate(self, request: ImageRequest, on_event: Any = None) -> ImageResult:
        result = await super().generate(request, on_event)
        num_bytes = int(os.environ.get("DRILL_BYTES", "32"))
        images = tuple(
            dataclasses.replace(image, data=(image.data * (num_bytes // 32 + 1))[:num_bytes])
            for image in result.images
        )
        return dataclasses.replace(result, images=images)


@asynccontextmanager
async def build(configuration: Configuration, metrics: Metrics) -> AsyncIterator[Built]:
    if os.environ.get("DRILL") == "fail":
        raise StartFailed("no model in /nowhere")
    if log := os.environ.get("DRILL_BUILDS"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {configuration.engine.strict}\n")
    drill: Any = Drill()
    drill.pace_s = float(os.environ.get("DRILL_S", "0")) / STEPS
    yield Built(drill, ModelCard("sketch", "fedcba9876543210"), lambda: True)


def stand_in() -> ModuleType:
    """For server.commands.building: without torch a start takes a moment."""
    building: Any = ModuleType("server.commands.building")
    building.build = build
    module: ModuleType = building
    return module


if __name__ == "__main__":
    sys.modules["server.commands.building"] = stand_in()
    sys.exit(main())
