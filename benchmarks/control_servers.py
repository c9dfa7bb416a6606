"""Servers of benchmarks.control_plane, each a process: `python -m benchmarks.control_servers NAME`.

`echo` is gRPC and nothing else; `door` is ours, with an answer that is there already.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from server.commands.serve import Built, serve
from server.commands.settings import add_flags, configuration_from
from server.configuration import Configuration
from server.core import (
    Answer,
    Arm,
    EncodedImage,
    ImageRequest,
    ImageResult,
    ModelCard,
    Personalization,
    Reason,
    SamplerName,
    Source,
)
from server.doors.answers import Listener
from server.metrics import Metrics

IMAGE = np.random.default_rng(0).bytes(10_000)


class Ready:
    """Stands behind the door with an image in its hand."""

    def __init__(self) -> None:
        image = EncodedImage(IMAGE, "image/webp", 512, 512, 7)
        self._result = ImageResult(
            (image,),
            Source.CACHE,
            Personalization(Reason.APPLIED, "creatives", "0" * 16, {"user_profile": 1.0}),
            Arm.PERSONALIZED,
            ModelCard("ready", "0" * 16),
            SamplerName.EULER,
            20,
            {"read": 0.0, "fuse": 0.0},
        )

    async def generate(
        self, request: ImageRequest, on_event: Listener | None = None
    ) -> ImageResult:
        return self._result

    async def explain(self, request: ImageRequest, map_side: int) -> Answer:
        raise NotImplementedError


@asynccontextmanager
async def build_ready(configuration: Configuration, metrics: Metrics) -> AsyncIterator[Built]:
    yield Built(Ready(), ModelCard("ready", "0" * 16), lambda: True)


async def echo(port_file: Path) -> None:
    async def answer(data: bytes, context: Any) -> bytes:
        return IMAGE

    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(answer)}
    server, health = grpc.aio.server(), HealthServicer()
    handler = grpc.method_handlers_generic_handler("benchmarks.Echo", handlers)
    server.add_generic_rpc_handlers([handler])
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    serving = health_pb2.HealthCheckResponse.SERVING
    for name in ("", "etalage.v1.ImageService"):
        await health.set(name, serving)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ports = {"grpc": port, "admin": 0, "metrics": 0, "health": 0}
    port_file.write_text(json.dumps(ports), "utf-8")
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await asked.wait()
    await server.stop(None)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("server", choices=("echo", "door"))
    parser.add_argument("--port-file", type=Path, required=True)
    add_flags(parser)
    arguments = parser.parse_args()
    if arguments.server == "echo":
        uvloop.run(echo(arguments.port_file))
        return 0
    return serve(configuration_from(arguments), build_ready, arguments.port_file)


if __name__ == "__main__":
    sys.exit(main())
