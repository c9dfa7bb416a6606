"""The shopper through image-prompt attention of a UNet (IP-Adapter, Ye et al., 2023).

Stock processors do the attending. They fold surplus rows into tokens, so that shoppers blend where
a pipeline prepares a batch; given as many embeddings as rows they keep them apart. And a mask may
have a row for each row: that is where its strength goes, with no scale that requests would share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from torch.nn import functional as F

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.adapter_file import Shapes, read_shapes

TOKENS = 4
"""That a published adapter makes of a vector."""


def load_adapter(pipe: Any, path: Path, blocks: Mapping[str, Any] | None) -> int:
    """Into the pipeline's UNet, once and for all requests; the width of the vectors it takes.

    Raises CheckpointUnusable.
    """
    shapes = read_shapes(path)
    width = find_width(path, shapes, pipe.unet.config.cross_attention_dim)
    check_attention(path, shapes, pipe.unet)
    try:
        pipe.load_ip_adapter(
            str(path.parent),
            subfolder="",
            weight_name=path.name,
            image_encoder_folder=None,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointUnusable(f"shopper.weights: {path} does not load: {error}") from error
    if blocks is not None:
        scale_blocks(pipe, blocks)
    return width


def scale_blocks(pipe: Any, blocks: Mapping[str, Any]) -> None:
    """Raises CheckpointUnusable where they name what this UNet does not have."""
    for part in ("down", "up"):
        if isinstance(named := blocks.get(part), Mapping):
            found = enumerate(getattr(pipe.unet, f"{part}_blocks"))
            known = {f"block_{i}" for i, block in found if hasattr(block, "attentions")}
            if unknown := sorted(named.keys() - known):
                raise CheckpointUnusable(
                    f"shopper.blocks: {part}.{unknown[0]} is none of {', '.join(sorted(known))}"
                )
    try:
        pipe.set_ip_adapter_scale(dict(blocks))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointUnusable(f"shopper.blocks: do not fit this UNet: {error}") from error
    processors = pipe.unet.attn_processors.values()
    scales = [scale for processor in processors for scale in getattr(processor, "scale", ())]
    if not all(isinstance(scale, int | float) for scale in scales):
        raise CheckpointUnusable("shopper.blocks: scales are numbers, or lists with one a layer")


def find_width(path: Path, shapes: Shapes, text_width: int) -> int:
    """Of the vectors that the projection takes, as published adapters and FaceID have it.

    Raises CheckpointUnusable where it takes something else, or makes tokens of another width.
    """
    linear = shapes.get("image_proj.proj.weight")
    perceptron = shapes.get("image_proj.proj.0.weight")
    is_faceid = "image_proj.proj.2.weight" in shapes and "image_proj.norm.weight" in shapes
    if linear is not None:
        width, made = linear[1], linear[0] // TOKENS
    elif perceptron is not None and is_faceid:
        width, made = perceptron[1], shapes["image_proj.norm.weight"][0]
    else:
        raise CheckpointUnusable(
            f"shopper.weights: {path} does not project one vector; adapters of the base layout and "
            "of FaceID's do"
        )
    if made != text_width:
        raise CheckpointUnusable(
            f"shopper.weights: {path} is an adapter of another base: it makes tokens of {made} "
            f"numbers, and this UNet reads {text_width}"
        )
    return width


def check_attention(path: Path, shapes: Shapes, unet: Any) -> None:
    """Whether there is attention for each layer of this UNet, and for no other.

    Raises CheckpointUnusable.
    """
    layers = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    expected: dict[str, tuple[int, ...]] = {}
    for number, name in enumerate(layers):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        for part in ("k", "v"):
            key = f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight"
            expected[key] = tuple(getattr(attention, f"to_{part}").weight.shape)
    found = {key: shape for key, shape in shapes.items() if key.startswith("ip_adapter.")}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise CheckpointUnusable(
                f"shopper.weights: {path} is an adapter of another base: {key} is "
                f"{_say(found.get(key))}, and in this UNet {_say(expected.get(key))}"
            )


def fits_masks(height: int, width: int, num_levels: int) -> bool:
    """Whether stock processors find a mask's proportions in the number of its places, at each of a
    UNet's levels. They divide and take a root, which rounding spoils for few sizes."""
    mask = torch.arange(height * width, dtype=torch.float32).reshape(1, height, width)
    for level in range(num_levels):
        size = height >> level, width >> level
        expected = F.interpolate(mask[None], size, mode="bicubic").flatten()
        found = IPAdapterMaskProcessor.downsample(mask, 1, len(expected), 1).flatten()
        if not torch.equal(found, expected):
            return False
    return True


def _say(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape))
