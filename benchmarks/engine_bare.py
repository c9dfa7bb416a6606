"""The bare loop in a process of its own.

All the cores go to one thread of a process (`server.sampling.cores`), and here that is an engine's:
beside it the bare loop would not be as fast as the model goes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks import engine_runs
from benchmarks.engine_runs import NUM_CORES
from diffusion.model import ProductDiffusion
from server.sampling.cores import take_cores
from server.sampling.row import RowRequest

_models: list[ProductDiffusion] = []
"""The one model of the process."""


@dataclass(frozen=True, slots=True)
class BareLoop:
    process: ProcessPoolExecutor

    def images_per_s(self, rows: Sequence[RowRequest], batch_size: int) -> float:
        return self.process.submit(_time_loop, rows, batch_size).result()

    def time_forwards(self, row: RowRequest, num_rows: int, num_times: int) -> list[float]:
        return self.process.submit(_time_forwards, row, num_rows, num_times).result()

    def find_best_batch(self, row: RowRequest, sizes: Sequence[int]) -> int:
        rates = {
            size: size / statistics.median(self.time_forwards(row, size, 5))
            for size in sizes
            if size > 4
        }
        return max(rates, key=lambda size: rates[size])


@contextmanager
def running_bare(checkpoint: Path) -> Iterator[BareLoop]:
    with ProcessPoolExecutor(1, get_context("spawn"), _begin, (checkpoint,)) as process:
        yield BareLoop(process)


def _begin(checkpoint: Path) -> None:
    take_cores(NUM_CORES)
    _models.append(ProductDiffusion.load(checkpoint))


def _time_loop(rows: Sequence[RowRequest], batch_size: int) -> float:
    return engine_runs.time_bare(_models[0], rows, batch_size)


def _time_forwards(row: RowRequest, num_rows: int, num_times: int) -> list[float]:
    return engine_runs.time_forwards(_models[0], row, num_rows, num_times)
