"""Seed is identity: a row's noise comes from its own generator and from nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_SEED = 2**63 - 1


def draw_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 of `shape`, drawn on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed(seed & MAX_SEED)
    return torch.randn(tuple(shape), generator=generator)


def derive_seed(*parts: str) -> int:
    """A stable seed in [0, 2⁶³) from words, e.g. product and arm."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") & MAX_SEED
