"""What every peer serves: the checkpoint, as well as one can batch it for whole requests.

`prepare` once, then `sample_batch`. Rows of a batch drop out when their steps are done, guidance
rows share the forward passes, and pixels are finished on all cores. Nobody is sampled whose
deadline has passed. It imports little, so that it runs in the peers' own environment.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from numpy.typing import NDArray

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.evaluation.generation import BATCH_ROWS, Order, generate
from diffusion.fusion import ProductCondition
from diffusion.guidance import Guidance
from diffusion.model import ProductDiffusion
from server.core import Mode, OutputSpec
from server.imaging.compose import compose
from server.imaging.encode import encode
from server.sampling.cores import take_cores

NUM_CORES = len(os.sched_getaffinity(0))
CROWD = "PEERS_CROWD"
"""The variable that names the file with the products."""
OUTPUT = OutputSpec()
EXPIRED = b""
"""In the place of an image whose deadline had passed before it was begun."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image: `shopper` is the embedding [width] when shown the product, `taste` the one when
    shown none; `expires_s` is a point in Unix time."""

    product: str
    shopper: NDArray[np.float32]
    taste: NDArray[np.float32]
    num_steps: int
    product_scale: float
    shopper_scale: float
    seed: int
    expires_s: float

    @classmethod
    def read(cls, told: str | bytes | Mapping[str, Any]) -> Job:
        values: dict[str, Any] = dict(told) if isinstance(told, Mapping) else json.loads(told)
        for name in ("shopper", "taste"):
            values[name] = np.frombuffer(base64.b64decode(values[name]), np.float32)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ScaledOrder(Order):
    """An order with a scale for the product too."""

    product_scale: float = 1.0

    @property
    def guidance(self) -> Guidance:
        return Guidance(self.product_scale, self.shopper_scale)


@dataclass(frozen=True, slots=True)
class Product:
    cutout: NDArray[np.uint8]
    condition: ProductCondition


class Sampler:
    """The model, warm, with every product of the crowd prepared."""

    def __init__(self, crowd: Path) -> None:
        take_cores(1)
        # One thread samples, whichever asks: see `server.sampling.cores`.
        self._cores = ThreadPoolExecutor(1, "cores", take_cores, (NUM_CORES,))
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._model = ProductDiffusion.load(DEFAULT_CHECKPOINT)
        self._workers = ThreadPoolExecutor(NUM_CORES)
        with np.load(crowd) as file:
            self._products = {
                name: self._prepare(*(file[f"{part} {name}"] for part in PARTS))
                for name in file["products"].tolist()
            }
        self.warm()

    def warm(self) -> None:
        """The forward passes of every size up to a full one."""
        product = next(iter(self._products))
        nobody = np.zeros(self._model.encoders.width, np.float32)
        never = float("inf")
        jobs = [Job(product, nobody, nobody, 1, 1.0, 1.0, n, never) for n in range(BATCH_ROWS)]
        for count in (1, 2, 3, 4, 6, 8, 12, BATCH_ROWS):
            self.sample_batch(jobs[:count])

    def sample_batch(self, jobs: Sequence[Job], batch_rows: int = BATCH_ROWS) -> list[bytes]:
        """A PNG for each job, EXPIRED where it is too late already."""
        now_s = time.time()
        live = [job for job in jobs if now_s < job.expires_s]
        files: list[bytes] = []
        if live:
            orders = [self._order(job) for job in live]
            pixels = self._cores.submit(generate, self._model, orders, batch_rows).result()
            files = list(self._workers.map(self._finish, live, pixels))
        done = dict(zip(map(id, live), files, strict=True))
        return [done.get(id(job), EXPIRED) for job in jobs]

    def _prepare(
        self,
        cutout: NDArray[np.uint8],
        image: NDArray[np.float32],
        title: NDArray[np.float32],
    ) -> Product:
        return Product(cutout, self._model.prepare_product(cutout, image, title))

    def _order(self, job: Job) -> ScaledOrder:
        return ScaledOrder(
            product=self._products[job.product].condition,
            shopper=job.shopper,
            taste=job.taste,
            task=Mode.PRESERVE.value,
            shopper_scale=job.shopper_scale,
            num_steps=job.num_steps,
            seed=job.seed,
            product_scale=job.product_scale,
        )

    def _finish(self, job: Job, pixels: NDArray[np.uint8]) -> bytes:
        cutout = self._products[job.product].cutout
        creative = compose(pixels, cutout, OUTPUT.longest_side, Mode.PRESERVE)
        return encode(creative, OUTPUT).data


PARTS = ("cutout", "image", "title")
"""What the crowd's file has of each product, under "<part> <product>"."""


def prepare() -> Sampler:
    """From the file that the environment names."""
    return Sampler(Path(os.environ[CROWD]))
