"""From a specification to a model that is ready to be warmed; every error names file and field."""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from torch import nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.lora import Loras
from diffusion.families.family import Family
from diffusion.families.folder import check_folder, find_folder, read_index
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.quantization import quantize
from diffusion.families.specification import AdapterShopper, BlendShopper, ModelSpecification
from diffusion.samplers import SAMPLERS

FAMILIES = {
    "sd15": "diffusion.families.unet:StableDiffusion15",
    "sdxl": "diffusion.families.unet:StableDiffusionXL",
    "sd3": "diffusion.families.sd3:StableDiffusion3",
    "flux": "diffusion.families.flux:Flux",
    "z_image": "diffusion.families.z_image:ZImage",
    "qwen_image": "diffusion.families.qwen_image:QwenImage",
    "kandinsky22": "diffusion.families.kandinsky:Kandinsky22",
}
"""By the name in a specification; loaded when asked for, since each takes a while to import."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)
"""What diffusers and transformers raise for a folder that is not what it says."""

ROOM = 1.2
"""Memory to be free for each byte of weights."""


def find_family(name: str) -> type[Family]:
    module, _, kind = FAMILIES[name].partition(":")
    return cast("type[Family]", getattr(import_module(module), kind))


def load_model(specification: ModelSpecification, device: str = "cpu") -> PretrainedDiffusion:
    """Raises CheckpointUnusable."""
    kind = find_family(specification.family)
    folder = find_folder(specification.find(specification.source), specification.revision)
    digest = check_folder(folder, kind.pipelines, specification.family)
    dtype: torch.dtype = getattr(torch, specification.dtype)
    check_memory(folder, dtype, torch.device(device))
    try:
        pipe = open_pipeline(folder, dtype)
        pipe.to(device)
        family = kind(pipe, specification)
        quantize(family.network, specification.quantization)
        loras = Loras.load_for(family.network, specification)
    except CheckpointUnusable:
        raise
    except torch.OutOfMemoryError as error:
        raise CheckpointUnusable(f"{folder}: too little memory on {device}: {error}") from error
    except UNREADABLE as error:
        raise CheckpointUnusable(f"{folder} does not load: {error}") from error
    check_fit(family, specification)
    tune(pipe, family, specification)
    told = [digest, specification.model_dump_json(), family.adapters_digest]
    told += [] if loras is None else [loras.digest.hex()]
    revision = hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]
    return PretrainedDiffusion(family, specification, revision, loras, weigh(family))


def weigh(family: Family) -> int:
    """Bytes of all weights that a family holds, by itself or in a pipeline."""
    held: list[Any] = list(vars(family).values())
    for pipe in [each for each in held if isinstance(each, DiffusionPipeline)]:
        held += pipe.components.values()
    networks = (each for each in held if isinstance(each, nn.Module))
    weights = {p.data_ptr(): p.nbytes for network in networks for p in network.parameters()}
    return sum(weights.values())


def open_pipeline(folder: Path, dtype: torch.dtype) -> Any:
    """The stock pipeline: its parts are used, not its loop. No code of a folder is ever run."""
    diffusers_logging.set_verbosity_error()  # else it logs what of a prompt it cuts off
    diffusers_logging.disable_progress_bar()
    index = read_index(folder)
    kind = getattr(diffusers, str(index["_class_name"]))
    told = {part: None for part, named in index.items() if named == [None, None]}
    if "safety_checker" in index:
        told["safety_checker"] = None
    return kind.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, **told
    )


def check_memory(folder: Path, dtype: torch.dtype, device: torch.device) -> None:
    """Raises CheckpointUnusable where the weights can't fit."""
    needed = ROOM * sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > free:
        raise CheckpointUnusable(
            f"source: {folder} needs about {needed / 2**30:.1f} GiB, and {device} has "
            f"{free / 2**30:.1f} GiB free"
        )


def check_fit(family: Family, specification: ModelSpecification) -> None:
    """Whether the family can do what the specification asks. Raises CheckpointUnusable."""
    name = specification.family
    if specification.sampler not in SAMPLERS:
        raise CheckpointUnusable(
            f"sampler: {specification.sampler} is none of {', '.join(SAMPLERS)}"
        )
    able = {
        "controlnet": family.has_controlnet,
        "reference": family.has_reference_tokens,
    }
    for task, ways in (
        ("preserve", specification.product.preserve),
        ("restyle", specification.product.restyle),
        ("create", specification.product.of("create")),
    ):
        for way in ways:
            if not able.get(way, True):
                raise CheckpointUnusable(f"product.{task}: this {name} can't do {way}")
    if isinstance(specification.shopper, AdapterShopper) and family.shopper_width is None:
        raise CheckpointUnusable(f"shopper.kind: {name} has no image-prompt adapters; use prompt")
    if isinstance(specification.shopper, BlendShopper) and not family.is_unclip:
        raise CheckpointUnusable(f"shopper.kind: {name} has no image embedding to blend")
    for width, height in specification.sizes:
        try:
            family.latent_shape((width, height))
        except ValueError as error:
            raise CheckpointUnusable(f"sizes: {error}") from error


def tune(pipe: Any, family: Family, specification: ModelSpecification) -> None:
    """What the specification asks for the sake of pace."""
    speed = specification.speed
    autoencoder = getattr(pipe, "vae", None) or getattr(pipe, "movq", None)
    for name, wanted in (("slicing", speed.vae_slicing), ("tiling", speed.vae_tiling)):
        if not wanted:
            continue
        try:
            getattr(autoencoder, f"enable_{name}")()
        except (AttributeError, NotImplementedError) as error:
            kind = type(autoencoder).__name__
            raise CheckpointUnusable(f"speed.vae_{name}: a {kind} can't do that") from error
    if speed.channels_last:
        family.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if speed.compile:
        torch._dynamo.config.recompile_limit = 64
        family.network.compile(dynamic=False)
