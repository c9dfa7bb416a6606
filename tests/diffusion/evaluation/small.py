"""A judge at toy size, and outcomes made by hand."""

from __future__ import annotations

import numpy as np
import torch

from diffusion.evaluation.judge import Judge
from diffusion.evaluation.study import Outcome


def make_judge(seed: int = 0) -> Judge:
    torch.manual_seed(seed)
    return Judge(widths=(8, 8, 8), num_features=16, product_width=8).eval()


def make_outcome(tastes, looks, found=None, *, raw_found=None, held_out=None, seed=0) -> Outcome:
    """Tastes and looks [n, 3]; where nothing else is said, all products are found."""
    count = len(tastes)
    every = np.ones(count, np.bool_)
    found = every if found is None else np.array(found)
    raw_found = found if raw_found is None else np.array(raw_found)
    features = np.random.default_rng(seed).normal(size=(2, count, 6)).astype(np.float32)
    return Outcome(
        np.array(tastes),
        ~every if held_out is None else np.array(held_out),
        np.array(looks),
        found,
        features[0],
        np.array(looks),
        raw_found,
        features[1],
    )
