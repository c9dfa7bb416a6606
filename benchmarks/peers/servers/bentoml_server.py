"""BentoML: a batchable method, whose dispatcher learns how long batches take.

Served by `bentoml serve benchmarks.peers.servers.bentoml_server:Painter`.
"""

from __future__ import annotations

import base64
from typing import Any

import bentoml  # type: ignore[import-not-found]

from benchmarks.peers.servers.sampling import Job, prepare
from benchmarks.peers.servers.settings import MAX_BATCH, QUEUE, read_longest_s


@bentoml.service(  # type: ignore[untyped-decorator,misc]
    workers=1,
    traffic={"timeout": read_longest_s(), "max_concurrency": QUEUE + MAX_BATCH},
)
class Painter:
    def __init__(self) -> None:
        self.sampler = prepare()

    @bentoml.api(  # type: ignore[untyped-decorator,misc]
        batchable=True,
        max_batch_size=MAX_BATCH,
        max_latency_ms=round(1000 * read_longest_s()),
    )
    def paint(self, jobs: list[dict[str, Any]]) -> list[str]:
        files = self.sampler.sample_batch([Job.read(job) for job in jobs])
        return [base64.b64encode(file).decode() for file in files]
