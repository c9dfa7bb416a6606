"""The systems that are measured: how each is started, what it is told, how it is configured."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measurement import ROOT
from benchmarks.peers.servers import settings

SERVERS = "benchmarks.peers.servers"
PYTHON = "ETALAGE_PEERS_PYTHON"
DEFAULT_PYTHON = ROOT / "out" / "peers" / ".venv" / "bin" / "python"
BATCHED = {"max_batch": settings.MAX_BATCH, "window_s": settings.WINDOW_S}

Wrap = Callable[[bytes, float], bytes]
"""A job and the seconds it has left, as the system wants it in the body of a POST."""


@dataclass(frozen=True, slots=True)
class System:
    """`command` follows the interpreter. With `path` it is asked by HTTP, else by our gRPC."""

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, Any]
    port_options: tuple[str, ...] = ()
    path: str = ""
    wrap: Wrap = lambda job, _: job
    is_image: Callable[[bytes], bool] = bool
    is_own: bool = False
    """Runs in our own environment."""

    @property
    def python(self) -> Path:
        if self.is_own:
            return Path(sys.executable)
        return Path(os.environ.get(PYTHON, DEFAULT_PYTHON))


def _infer(job: bytes, left_s: float) -> bytes:
    tensor = {"name": "job", "shape": [1, 1], "datatype": "BYTES", "data": [job.decode()]}
    parameters = {"binary_data_output": True, "timeout": max(1, round(1e6 * left_s))}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


OURS = System(
    "etalage",
    ("-m", "server", "serve"),
    {"deadline_policy": "strict"},
    (
        *("--server.port", "{port}", "--server.metrics_port", "{metrics_port}"),
        *("--server.admin_port", "0"),
    ),
    is_own=True,
)
ONE_AT_A_TIME = System(
    "one at a time", ("-m", f"{SERVERS}.queue_server", "1"), {"max_batch": 1}, path="/", is_own=True
)
REQUEST_BATCHING = System(
    "request batching",
    ("-m", f"{SERVERS}.queue_server", str(settings.OWN_MAX_BATCH)),
    {"max_batch": settings.OWN_MAX_BATCH, "window_s": settings.WINDOW_S},
    path="/",
    is_own=True,
)
PEERS = (
    System(
        "LitServe",
        ("-m", f"{SERVERS}.litserve_server"),
        {**BATCHED, "workers_per_device": 1, "timeout": "longest deadline"},
        path="/predict",
    ),
    System(
        "Ray Serve",
        ("-m", f"{SERVERS}.ray_serve_server"),
        {
            **BATCHED,
            "num_replicas": 1,
            "max_ongoing_requests": 2 * settings.MAX_BATCH,
            "max_queued_requests": settings.QUEUE,
            "request_timeout_s": "longest deadline",
        },
        path="/",
    ),
    System(
        "BentoML",
        ("-m", "bentoml", "serve", f"{SERVERS}.bentoml_server:Painter", "--host", settings.HOST),
        {
            "max_batch_size": settings.MAX_BATCH,
            "max_latency_ms": "longest deadline",
            "workers": 1,
            "max_concurrency": settings.QUEUE + settings.MAX_BATCH,
        },
        ("--port", "{port}"),
        "/paint",
        lambda job, _: b'{"jobs": [%s]}' % job,
        lambda body: len(body) > len('[""]'),
    ),
    System(
        "PyTriton",
        ("-m", f"{SERVERS}.pytriton_server"),
        {
            **BATCHED,
            "timeout_action": "REJECT",
            "timeout": "that of each request",
            "max_queue_size": settings.QUEUE,
        },
        path="/v2/models/painter/infer",
        wrap=_infer,
        is_image=lambda body: b"PNG" in body,
    ),
)
