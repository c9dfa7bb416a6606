"""Weights of linear layers in eight bits, by torchao; activations stay as they are."""

from __future__ import annotations

from torch import nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.specification import Quantization

SMALLEST = 32
"""Layers with a side under this stay as they are: they save nothing, and some hold scales."""


def quantize(network: nn.Module, kind: Quantization) -> None:
    """In place. Raises CheckpointUnusable where torchao is not installed."""
    if kind == "none":
        return
    try:
        from torchao.quantization import (
            Float8WeightOnlyConfig,
            Int8WeightOnlyConfig,
            quantize_,
        )
    except ImportError as error:
        raise CheckpointUnusable(
            f"quantization: {kind} needs torchao: pip install etalage-server[quantization]"
        ) from error
    config = Int8WeightOnlyConfig() if kind == "int8" else Float8WeightOnlyConfig()
    quantize_(network, config, filter_fn=_is_large)


def _is_large(module: nn.Module, name: str) -> bool:
    return isinstance(module, nn.Linear) and min(module.weight.shape) >= SMALLEST
