"""How the peers are configured, in one place, so that the report can show it. The reasons and the
pages of documentation are in benchmarks/peers/README.md."""

from __future__ import annotations

import os

PORT = "PEERS_PORT"
LONGEST_S = "PEERS_LONGEST_S"
HOST = "127.0.0.1"

MAX_BATCH = 4
"""Images, 8 forward rows on average: a larger batch gives no more images a second on 2 cores."""
OWN_MAX_BATCH = 8
WINDOW_S = 0.01
"""How long an incomplete batch waits for more."""
QUEUE = 8
"""Requests that may wait for a batch, where a peer can say so: two batches."""


def read_port() -> int:
    return int(os.environ[PORT])


def read_longest_s() -> float:
    """The longest deadline of the crowd."""
    return float(os.environ[LONGEST_S])
