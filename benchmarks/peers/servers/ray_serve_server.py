"""Ray Serve: `@serve.batch` gathers the calls of one replica."""

from __future__ import annotations

import asyncio
import signal
import threading

import ray  # type: ignore[import-not-found]
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.servers.sampling import EXPIRED, NUM_CORES, Job, prepare
from benchmarks.peers.servers.settings import (
    HOST,
    MAX_BATCH,
    QUEUE,
    WINDOW_S,
    read_longest_s,
    read_port,
)


@serve.deployment(  # type: ignore[untyped-decorator,misc]
    num_replicas=1,
    max_ongoing_requests=2 * MAX_BATCH,
    max_queued_requests=QUEUE,
    ray_actor_options={"num_cpus": NUM_CORES},
)
class Painter:
    def __init__(self) -> None:
        self.sampler = prepare()

    @serve.batch(  # type: ignore[untyped-decorator,misc]
        max_batch_size=MAX_BATCH, batch_wait_timeout_s=WINDOW_S
    )
    async def paint(self, jobs: list[Job]) -> list[bytes]:
        return await asyncio.to_thread(self.sampler.sample_batch, jobs)

    async def __call__(self, request: Request) -> Response:
        output: bytes = await self.paint(Job.read(await request.body()))
        return Response(output, 504 if output == EXPIRED else 200, media_type="image/png")


if __name__ == "__main__":
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    ray.init(num_cpus=NUM_CORES, include_dashboard=False)
    serve.start(
        http_options={
            "host": HOST,
            "port": read_port(),
            "request_timeout_s": read_longest_s(),
        }
    )
    painter = Painter.bind()  # type: ignore[attr-defined]
    serve.run(painter, name="painter", route_prefix="/")
    stopped.wait()
    serve.shutdown()
    ray.shutdown()
