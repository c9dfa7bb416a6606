"""One training loop for every network: bf16, EMA, cosine schedule, resumable, curves as CSV."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: linear warm-up, then a cosine down to a tenth."""

    num_steps: int
    learning_rate: float
    num_warmup_steps: int = 100
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    checkpoint_every_s: float = 120.0
    compiled: bool = False  # pays on a GPU; the CPUs tried here lose by it

    def rate(self, step: int) -> float:
        if step < self.num_warmup_steps:
            return (step + 1) / self.num_warmup_steps
        progress = (step - self.num_warmup_steps) / max(self.num_steps - self.num_warmup_steps, 1)
        return 0.55 + 0.45 * math.cos(math.pi * min(progress, 1.0))

    def decay(self, step: int) -> float:
        """Of the moving average: short at first, so that it forgets the start."""
        return min(self.ema_decay, (1 + step) / (10 + step))


N = TypeVar("N", bound=nn.Module)


class Kept(Protocol):
    """A part of a training whose state outlives an interruption."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


def fit(
    name: str,
    network: N,
    loss: Callable[[N, torch.Generator], tuple[Tensor, dict[str, float]]],
    schedule: Schedule,
    folder: Path,
) -> N:
    """Trains `network` in place and returns its exponential moving average.

    `loss(network, generator)` draws its own batch from `generator`, whose state is a function of
    the step, so that a resumed run walks the curve that an uninterrupted one would have walked.
    """
    device = next(network.parameters()).device
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=schedule.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=schedule.weight_decay,
    )
    fast = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    attention = [SDPBackend.MATH] if device.type == "cpu" else fast

    # What is compiled shares its parameters with what is saved.
    called = cast(N, torch.compile(network)) if schedule.compiled else network

    def take_step(step: int, generator: torch.Generator) -> list[float | Tensor]:
        set_rate(optimizer, schedule, step)
        # The CPU's fused attention spends half of a step in its backward pass.
        with sdpa_kernel(attention), torch.autocast(device.type, torch.bfloat16):
            value, facts = loss(called, generator)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        follow(average, network, schedule.decay(step))
        return [value.detach(), *facts.values()]

    parts: dict[str, Kept] = {"network": network, "average": average, "optimizer": optimizer}
    walk(name, take_step, parts, schedule, folder)
    return average.eval()


def walk(
    name: str,
    take_step: Callable[[int, torch.Generator], Sequence[float | Tensor]],
    parts: Mapping[str, Kept],
    schedule: Schedule,
    folder: Path,
) -> None:
    """Takes the steps that are left, keeping `parts` in {name}.pt and the curve in {name}.csv.

    `take_step(step, generator)` answers with what the curve shall say of this step.
    """
    state_file, curve_file = folder / f"{name}.pt", folder / f"{name}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    first = _resume(state_file, parts)
    _rewind(curve_file, first)
    started, saved = time.monotonic(), time.monotonic()
    with curve_file.open("a", newline="") as curve:
        writer = csv.writer(curve)
        for step in tqdm(range(first, schedule.num_steps), name, schedule.num_steps, initial=first):
            facts = take_step(step, torch.Generator().manual_seed(step))
            if step % 20 == 0:
                elapsed_s = round(time.monotonic() - started, 1)
                writer.writerow([step, elapsed_s, *map(float, facts)])
                curve.flush()
            if time.monotonic() - saved > schedule.checkpoint_every_s:
                _save(state_file, step + 1, parts)
                saved = time.monotonic()
    _save(state_file, schedule.num_steps, parts)


def set_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = schedule.learning_rate * schedule.rate(step)


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """One step of an exponential moving average; buffers are taken over as they are."""
    with torch.no_grad():
        theirs = list(network.parameters())
        for mine, new in zip(average.parameters(), theirs, strict=True):
            mine.lerp_(new, 1 - decay)
        for kept, given in zip(average.buffers(), network.buffers(), strict=True):
            kept.copy_(given)


def _save(path: Path, step: int, parts: Mapping[str, Kept]) -> None:
    state = {"step": step, **{name: part.state_dict() for name, part in parts.items()}}
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def _resume(path: Path, parts: Mapping[str, Kept]) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _rewind(curve: Path, first: int) -> None:
    """Takes off what an interrupted run wrote of steps that are walked again."""
    lines = curve.read_bytes().splitlines(keepends=True) if curve.exists() else []
    curve.write_bytes(b"".join(line for line in lines if int(line.split(b",")[0]) < first))


def draw(generator: torch.Generator, high: int, *shape: int) -> Tensor:
    """Integers in [0, high)."""
    return torch.randint(high, shape, generator=generator)
