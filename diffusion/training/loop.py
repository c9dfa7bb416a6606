"""One training loop for every network: bf16, EMA, cosine schedule, resumable, curves as CSV."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: linear warm-up, then a cosine down to a tenth."""

    num_steps: int
    learning_rate: float
    num_warmup_steps: int = 100
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    checkpoint_every_s: float = 120.0

    def rate(self, step: int) -> float:
        if step < self.num_warmup_steps:
            return (step + 1) / self.num_warmup_steps
        progress = (step - self.num_warmup_steps) / max(self.num_steps - self.num_warmup_steps, 1)
        return 0.55 + 0.45 * math.cos(math.pi * min(progress, 1.0))


N = TypeVar("N", bound=nn.Module)


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
    state_file, curve_file = folder / f"{name}.pt", folder / f"{name}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    first = _resume(state_file, network, average, optimizer)
    _rewind(curve_file, first)
    started, saved = time.monotonic(), time.monotonic()
    with curve_file.open("a", newline="") as curve:
        writer = csv.writer(curve)
        for step in tqdm(range(first, schedule.num_steps), name, schedule.num_steps, initial=first):
            generator = torch.Generator().manual_seed(step)
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * schedule.rate(step)
            # The CPU's fused attention spends half of a step in its backward pass.
            with sdpa_kernel(attention), torch.autocast(device.type, torch.bfloat16):
                value, facts = loss(network, generator)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            _follow(average, network, min(schedule.ema_decay, (1 + step) / (10 + step)))
            if step % 20 == 0:
                elapsed_s = round(time.monotonic() - started, 1)
                writer.writerow([step, elapsed_s, value.item(), *facts.values()])
                curve.flush()
            if time.monotonic() - saved > schedule.checkpoint_every_s:
                _save(state_file, step + 1, network, average, optimizer)
                saved = time.monotonic()
    _save(state_file, schedule.num_steps, network, average, optimizer)
    return average.eval()


def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        theirs = list(network.parameters())
        for mine, new in zip(average.parameters(), theirs, strict=True):
            mine.lerp_(new, 1 - decay)
        for kept, given in zip(average.buffers(), network.buffers(), strict=True):
            kept.copy_(given)


def _save(
    path: Path, step: int, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    state = {
        "step": step,
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def _resume(
    path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _rewind(curve: Path, first: int) -> None:
    """Takes off what an interrupted run wrote of steps that are walked again."""
    lines = curve.read_bytes().splitlines(keepends=True) if curve.exists() else []
    curve.write_bytes(b"".join(line for line in lines if int(line.split(b",")[0]) < first))


def draw(generator: torch.Generator, high: int, *shape: int) -> Tensor:
    """Integers in [0, high)."""
    return torch.randint(high, shape, generator=generator)
