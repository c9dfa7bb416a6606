"""A ControlNet beside a UNet: the product's edges steer the picture (Zhang et al., 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import ControlNetModel
from safetensors import SafetensorError

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.folder import find_folder
from diffusion.families.specification import ModelSpecification

FIELD = "product.controlnet"

SHARED = ("block_out_channels", "layers_per_block", "cross_attention_dim", "addition_embed_type")
"""Settings that it has in common with its UNet."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def find_controlnet(specification: ModelSpecification) -> Path | None:
    """Its folder; raises CheckpointUnusable."""
    if (named := specification.product.controlnet) is None:
        return None
    return find_folder(specification.find(named), None, FIELD)


def load_controlnet(folder: Path, pipe: Any) -> ControlNetModel:
    """On the pipeline's device and in its dtype. Raises CheckpointUnusable."""
    try:
        config = ControlNetModel.load_config(folder, local_files_only=True)
        if (kind := config.get("_class_name")) != "ControlNetModel":
            raise CheckpointUnusable(f"{FIELD}: {folder / 'config.json'} is of a {kind}")
        controlnet, told = ControlNetModel.from_pretrained(
            folder,
            dtype=pipe.unet.dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except CheckpointUnusable:
        raise
    except UNREADABLE as error:
        raise CheckpointUnusable(f"{FIELD}: {folder} does not load: {error}") from error
    if told["missing_keys"]:
        raise CheckpointUnusable(f"{FIELD}: {folder} lacks {sorted(told['missing_keys'])[0]}")
    check_controlnet(folder, controlnet, pipe)
    return controlnet.to(pipe.unet.device).eval()


def check_controlnet(folder: Path, controlnet: ControlNetModel, pipe: Any) -> None:
    """Whether it was trained for a UNet like this one. Raises CheckpointUnusable."""
    for name in SHARED:
        found, expected = controlnet.config[name], pipe.unet.config[name]
        if found != expected:
            raise CheckpointUnusable(
                f"{FIELD}: {folder} is a ControlNet of another base: its {name} is {found}, and "
                f"that of this UNet {expected}"
            )
    factor = 2 ** (len(controlnet.config.conditioning_embedding_out_channels) - 1)
    if factor != pipe.vae_scale_factor:
        raise CheckpointUnusable(
            f"{FIELD}: {folder} makes pictures {factor} times smaller, and this autoencoder "
            f"{pipe.vae_scale_factor} times"
        )
