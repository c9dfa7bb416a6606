"""A workshop without a network: a test says when a model loads, warms or breaks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.specification import ModelSpecification
from server.models import Models
from server.revision import ModelFacts, State
from server.workshop import Workshop

FACTS = ModelFacts(
    family="sd15",
    licence="MIT",
    dtype="float32",
    num_parameters=1000,
    weights_bytes=4000,
    shapes={(64, 64): (4, 8, 8), (96, 64): (4, 8, 12)},
    sampler="euler",
    steps=20,
    shopper="by a prompt",
    product="preserve: inpaint",
    styles=("ink",),
)


@dataclass
class FakeModel:
    """Its revision is its specification's licence: a word that a test chooses."""

    name: str
    digest: str
    is_closed: bool = False


@dataclass
class Shop:
    """`log` has what was done, in order; `memory` the models that are open now.

    A licence in `unloadable` or `unwarmable` raises what stands there. `may_load` and `may_warm`
    hold work up while they are not set.
    """

    folder: Path
    devices: tuple[str, ...] = ("cpu",)
    log: list[str] = field(default_factory=list)
    memory: Counter[str] = field(default_factory=Counter)
    most_open: int = 0
    unloadable: dict[str, Exception] = field(default_factory=dict)
    unwarmable: dict[str, Exception] = field(default_factory=dict)
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    loads: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_load = threading.Event()
        self.may_load.set()
        self.may_warm = asyncio.Event()
        self.may_warm.set()

    def models(self, **settings: Any) -> Models:
        """With a default "quality" that is built in."""
        workshop = Workshop(
            self._load, self._warm, self._close, lambda model: FACTS, devices=self.devices
        )
        models = Models(workshop, self, **settings)
        built_in: Any = FakeModel("etalage", "built-in")
        models.adopt("quality", [built_in] * len(self.devices), FACTS)
        return models

    def write(self, licence: str, name: str = "studio", comment: str = "") -> Path:
        """A specification whose revision is called like its licence."""
        path = self.folder / f"{name}.yaml"
        text = f"name: {name}\nfamily: sd15\nsource: nowhere\nlicence: {licence}\n{comment}"
        path.write_text(text)
        return path

    def _load(self, specification: ModelSpecification, device: int) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        assert self.may_load.wait(30)
        licence = specification.licence
        if licence in self.unloadable:
            raise self.unloadable[licence]
        self.log.append(f"load {licence}")
        self.memory[licence] += 1
        self.most_open = max(self.most_open, self.memory.total())
        return FakeModel(f"{specification.name}@{licence}", licence)

    async def _warm(self, model: Any, device: int) -> dict[int, float]:
        await self.may_warm.wait()
        self.log.append(f"warm {model.digest}")
        if model.digest in self.unwarmable:
            raise self.unwarmable[model.digest]
        return {1: 0.5, 4: 1.0}

    def _close(self, model: Any, device: int) -> None:
        assert not model.is_closed
        model.is_closed = True
        self.log.append(f"close {model.digest}")
        self.memory[model.digest] -= 1

    def model_state(self, name: str, state: str, change: int) -> None:
        self.states[name, state] += change

    def model_load(self, result: str, seconds: float) -> None:
        self.loads[result] += 1

    def model(self, name: str, digest: str) -> None:
        self.told.append(digest)


def broken(text: str = "shopper.weights: ip.safetensors is missing") -> CheckpointUnusable:
    return CheckpointUnusable(text)


def states(models: Models, name: str = "studio") -> list[tuple[str, State]]:
    return [(each.digest, each.state) for each in models.revisions() if each.name == name]


def digest_of(models: Models, name: str = "studio") -> str:
    with models.lease(name) as revision:
        return revision.digest


async def until(condition: Any) -> None:
    """Let the loop and its threads go on until it holds."""
    give_up_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_s
        await asyncio.sleep(0.001)
