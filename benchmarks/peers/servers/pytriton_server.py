"""PyTriton: Triton's dynamic batcher before a Python function."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch  # type: ignore[import-not-found]
from pytriton.model_config import (  # type: ignore[import-not-found]
    DynamicBatcher,
    ModelConfig,
    QueuePolicy,
    Tensor,
    TimeoutAction,
)
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]

from benchmarks.peers.servers.sampling import Job, prepare
from benchmarks.peers.servers.settings import (
    HOST,
    MAX_BATCH,
    QUEUE,
    WINDOW_S,
    read_longest_s,
    read_port,
)

POLICY = QueuePolicy(
    timeout_action=TimeoutAction.REJECT,
    default_timeout_microseconds=round(1e6 * read_longest_s()),
    allow_timeout_override=True,
    max_queue_size=QUEUE,
)
BATCHER = DynamicBatcher(
    max_queue_delay_microseconds=round(1e6 * WINDOW_S), default_queue_policy=POLICY
)

if __name__ == "__main__":
    # Else its shared memory would stay behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sampler = prepare()

    @batch  # type: ignore[untyped-decorator]
    def paint(job: NDArray[Any]) -> dict[str, NDArray[Any]]:
        files = sampler.sample_batch([Job.read(bytes(told)) for told in job[:, 0]])
        return {"image": np.array(files, object)[:, None]}

    port = read_port()
    addresses = {f"{name}_address": HOST for name in ("http", "grpc", "metrics")}
    config = TritonConfig(http_port=port, grpc_port=port + 1, metrics_port=port + 2, **addresses)
    with suppress(KeyboardInterrupt), Triton(config=config) as triton:
        triton.bind(
            "painter",
            paint,
            inputs=[Tensor(name="job", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=BATCHER),
        )
        triton.serve()
