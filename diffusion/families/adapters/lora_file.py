"""A LoRA's file as low-rank weights by module, from every layout that diffusers reads.

diffusers' own loaders translate the names (kohya's, its own older ones, those of other trainers);
PEFT, which would put the weights into the network, is not needed. Weights of a text encoder are
refused: prompts are read once for all styles, so such a LoRA would act by half.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import (
    FluxLoraLoaderMixin,
    QwenImageLoraLoaderMixin,
    SD3LoraLoaderMixin,
    StableDiffusionLoraLoaderMixin,
    StableDiffusionXLLoraLoaderMixin,
    ZImageLoraLoaderMixin,
)
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from safetensors import safe_open
from torch import Tensor, nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.folder import check_safetensors, find_folder
from diffusion.families.specification import Lora, ModelSpecification

LOADERS: dict[str, Any] = {
    "sd15": StableDiffusionLoraLoaderMixin,
    "sdxl": StableDiffusionXLLoraLoaderMixin,
    "sd3": SD3LoraLoaderMixin,
    "flux": FluxLoraLoaderMixin,
    "z_image": ZImageLoraLoaderMixin,
    "qwen_image": QwenImageLoraLoaderMixin,
    "kandinsky22": StableDiffusionLoraLoaderMixin,
}

WEIGHT = re.compile(r"(.+)\.lora_([AB])\.weight")

# What diffusers' translations raise for names that they do not know.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, IndexError)


@dataclass(frozen=True, slots=True)
class LowRank:
    """What is added to a module's weight: up @ down, of shapes [out, r] and [r, in, ...kernel].

    alpha / r and the scale of the specification are in `up`.
    """

    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        return len(self.down)


@dataclass(frozen=True, slots=True)
class LoraFile:
    weights: Mapping[str, LowRank]
    digest: bytes
    """Of the file and of the scale."""


def find_lora(lora: Lora, specification: ModelSpecification) -> Path:
    """Raises CheckpointUnusable."""
    source = specification.find(lora.source)
    return find_folder(source, None, f"loras.{lora.name}.source") / lora.weights


def read_lora(path: Path, lora: Lora, network: nn.Module, family: str) -> LoraFile:
    """Raises CheckpointUnusable, naming the file and the field, on what does not fit `network`."""
    field = f"loras.{lora.name}.weights"
    try:
        if any("dora_scale" in name for name in check_safetensors(path)):
            raise CheckpointUnusable(f"{path} is a DoRA, which can't be chosen row by row")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        weights = _read(path, network, family)
    except CheckpointUnusable as error:
        raise CheckpointUnusable(f"{field}: {error}") from error
    except _UNREADABLE as error:
        raise CheckpointUnusable(f"{field}: {path} is no LoRA of {family}: {error}") from error
    digest.update(repr(lora.scale).encode())
    scaled = {name: LowRank(low.down, low.up * lora.scale) for name, low in weights.items()}
    return LoraFile(scaled, digest.digest())


def _read(path: Path, network: nn.Module, family: str) -> dict[str, LowRank]:
    with safe_open(path, framework="pt") as opened:
        state = {name: opened.get_tensor(name) for name in opened.keys()}
        told = json.loads((opened.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY, "{}"))
    asked: dict[str, Any] = {"return_lora_metadata": True}
    if family == "sdxl":
        asked["unet_config"] = network.config
    if family == "flux":
        asked["return_alphas"] = True
    # The last is metadata, which only a loader that opens the file itself would find.
    state, *rest, _ = LOADERS[family].lora_state_dict(state, **asked)
    alphas = (rest[0] if rest else None) or {}
    part = "unet" if family in ("sd15", "sdxl", "kandinsky22") else "transformer"
    rename = convert_unet_state_dict_to_peft
    weights = _pair(path, rename(_keep(path, state, part)))
    scales = _find_scales(path, weights, rename(_keep(path, alphas, part)), _keep(path, told, part))
    for name, low in weights.items():
        weights[name] = fitted = LowRank(_strip(low.down), _strip(low.up) * scales[name])
        _check_fit(path, name, fitted, network)
    return weights


def _keep(path: Path, told: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What is said of one part of the pipeline, which has to be all."""
    for name in told:
        if name.startswith("text_encoder"):
            raise CheckpointUnusable(
                f"{path} holds {name}: prompts are read once for all styles; save the LoRA "
                f"without the weights of text encoders"
            )
        if not name.startswith(f"{part}."):
            raise CheckpointUnusable(f"{path} holds {name}, which is not of the {part}")
    return {name.removeprefix(f"{part}."): value for name, value in told.items()}


def _pair(path: Path, state: Mapping[str, Tensor]) -> dict[str, LowRank]:
    sides: dict[str, dict[str, Tensor]] = {"A": {}, "B": {}}
    for name, tensor in state.items():
        if (match := WEIGHT.fullmatch(name)) is None:
            raise CheckpointUnusable(f"{path} holds {name}, which is no weight of a LoRA")
        sides[match[2]][match[1]] = tensor.float()
    downs, ups = sides["A"], sides["B"]
    if not downs:
        raise CheckpointUnusable(f"{path} holds no LoRA")
    for name in sorted(downs.keys() ^ ups.keys()):
        raise CheckpointUnusable(f"{path} holds only one of the two weights of {name}")
    return {name: LowRank(downs[name], ups[name]) for name in downs}


def _find_scales(
    path: Path, weights: Mapping[str, LowRank], alphas: Mapping[str, Any], told: Mapping[str, Any]
) -> dict[str, float]:
    """alpha / r of each module: as the file has it, as its metadata has it, else 1."""
    scales = {name: _scale(name, low.rank, told) for name, low in weights.items()}
    for key, alpha in alphas.items():
        name = key.removesuffix(".alpha").partition(".lora_A")[0]
        if name not in weights:
            raise CheckpointUnusable(f"{path} holds {key}, but no weights for it")
        scales[name] = float(alpha) / weights[name].rank
    return scales


def _scale(name: str, rank: int, told: Mapping[str, Any]) -> float:
    """By the settings that PEFT trained with, where the file brings them."""
    patterns: Mapping[str, float] = told.get("alpha_pattern") or {}
    own = (a for pattern, a in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", name))
    alpha = next(own, told.get("lora_alpha", rank))
    return float(alpha) / (math.sqrt(rank) if told.get("use_rslora") else rank)


def _strip(weight: Tensor) -> Tensor:
    """Kernels of one pixel dropped: some trainers take a linear layer for such a convolution."""
    while weight.dim() > 2 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    return weight


def _check_fit(path: Path, name: str, low: LowRank, network: nn.Module) -> None:
    try:
        module = network.get_submodule(name)
    except AttributeError as error:
        raise CheckpointUnusable(
            f"{path} is of another base: {name} is no module of this network"
        ) from error
    if not isinstance(module, nn.Linear | nn.Conv2d) or getattr(module, "groups", 1) > 1:
        raise CheckpointUnusable(
            f"{path} changes {name}: it is a {type(module).__name__}, and LoRAs act on linear "
            f"layers and plain convolutions"
        )
    weight = _strip(torch.empty(module.weight.shape, device="meta"))
    expected = ((low.rank, *weight.shape[1:]), (len(weight), low.rank))
    if (low.down.shape, low.up.shape) != expected:
        raise CheckpointUnusable(
            f"{path} is of another base: {name} has a weight {list(weight.shape)}, the LoRA's "
            f"are {list(low.down.shape)} and {list(low.up.shape)}"
        )
