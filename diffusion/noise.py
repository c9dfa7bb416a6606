"""Seed is identity: a row's noise comes from its own generator and from nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_SEED = 2**64 - 1


def draw_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 of `shape`, drawn on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed(fold_seed(seed))
    return torch.randn(tuple(shape), generator=generator)


def fold_seed(seed: int) -> int:
    """64 bits → the 32 that torch's generator keeps; small seeds stay what they are elsewhere."""
    if seed < 2**32:
        return seed
    return int.from_bytes(hashlib.sha256(seed.to_bytes(8, "big")).digest()[:4], "big")


def derive_seed(*parts: str) -> int:
    """A stable seed in [0, 2⁶⁴) from words, e.g. product and arm."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big")
