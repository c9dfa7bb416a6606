"""One version of a model: what it is, how far it is, and who uses it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.specification import AdapterShopper, ModelSpecification

if TYPE_CHECKING:
    from diffusion.image_model import ImageModel


class State(Enum):
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is to be known of a loaded model, for people and for machines.

    `shopper` and `product` say how they enter; an empty one does not. `shapes` are those of latents
    [C, h, w] by size of picture (width, height), the model's own first.
    """

    family: str
    licence: str
    dtype: str
    num_parameters: int
    weights_bytes: int
    shapes: Mapping[tuple[int, int], tuple[int, ...]]
    sampler: str
    steps: int
    shopper: str = ""
    product: str = ""
    styles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why a model was not loaded, from which file, and when (seconds of the epoch)."""

    message: str
    path: Path
    failed_s: float


@dataclass(eq=False)
class Revision:
    """`models` has one for each device, in the workshop's order; `digest` is theirs, empty before
    they are loaded; `step_s` is seconds of a forward by bucket; `ready_s` seconds of the epoch, 0
    before. A built-in one has no specification."""

    name: str
    specification: ModelSpecification | None = None
    path: Path | None = None
    fingerprint: str = ""
    digest: str = ""
    state: State = State.LOADING
    models: tuple[ImageModel, ...] = ()
    facts: ModelFacts | None = None
    step_s: Mapping[int, float] = field(default_factory=dict)
    ready_s: float = 0.0
    failure: LoadFailure | None = None
    num_leases: int = 0
    is_gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once nothing of it is in memory any more."""

    def __post_init__(self) -> None:
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def model(self, device: int = 0) -> ImageModel:
        """That of a device, by its number in the workshop's order."""
        return self.models[device]

    @contextmanager
    def held(self) -> Iterator[Revision]:
        """It stays in memory until the last who holds it lets go."""
        self.num_leases += 1
        self._is_idle.clear()
        try:
            yield self
        finally:
            self.num_leases -= 1
            if not self.num_leases:
                self._is_idle.set()

    async def idle(self) -> None:
        """Wait until nobody holds it."""
        await self._is_idle.wait()


def identify(specification: ModelSpecification) -> str:
    """16 hexadecimal digits that change with a specification and with the files that it names, by
    their sizes and times: nothing large is read. A name on a hub stands for itself.

    Raises CheckpointUnusable.
    """
    sha = hashlib.sha256(specification.model_dump_json().encode())
    for field_name, source in _sources(specification):
        path = Path(specification.find(source))
        try:
            files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
            for file in files:
                told = file.stat()
                sha.update(f"{file} {told.st_size} {told.st_mtime_ns}\n".encode())
        except OSError as error:
            raise CheckpointUnusable(f"{field_name}: {path} can't be read: {error}") from error
    return sha.hexdigest()[:16]


def _sources(specification: ModelSpecification) -> Iterator[tuple[str, str]]:
    yield "source", specification.source
    if isinstance(specification.shopper, AdapterShopper):
        yield "shopper.source", specification.shopper.source
    if specification.product.controlnet is not None:
        yield "product.controlnet", specification.product.controlnet
    for number, lora in enumerate(specification.loras):
        yield f"loras.{number}.source", lora.source
