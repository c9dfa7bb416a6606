"""The shopper's own adapter for a UNet: a vector of any width becomes tokens of an image prompt.

Its modules are diffusers' own, put into the UNet by `load_ip_adapter` (Ye et al., 2023), and it is
saved in the layout of IP-Adapter-FaceID: what is trained here is loaded by stock diffusers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from diffusion.checkpoint import CheckpointUnusable

EXPANSION = 4
"""Of the projection's hidden layer; the layout asks for a whole multiple of the vector's width."""

PROJECTION = {"ff.net.0.proj": "proj.0", "ff.net.2": "proj.2", "norm": "norm"}
"""Layers of diffusers' IPAdapterFaceIDImageProjection, and their names in the file."""


class UserAdapter(nn.Module):
    """The projection of vectors [rows, 1, width] to tokens, and keys and values for these tokens of
    every cross-attention, in the order of the UNet's attention processors.

    The UNet is handed `image_embeds=[vectors]` in `added_cond_kwargs`; zeros are nobody.
    """

    def __init__(self, projection: nn.Module, attentions: list[nn.Module]) -> None:
        super().__init__()
        self.projection = projection
        self.attentions = nn.ModuleList(attentions)

    @classmethod
    def attach(
        cls,
        pipe: Any,
        width: int,
        num_tokens: int = 4,
        vector_length: float = 1.0,
        seed: int = 0,
    ) -> UserAdapter:
        """A fresh one in the pipeline's UNet, which is frozen; its weights are float32.

        `vector_length` is that of a usual shopper's vector. Values start at zero, so that the first
        prediction is the UNet's own. Raises CheckpointUnusable.
        """
        unet = pipe.unet
        unet.requires_grad_(False)
        projection = make_projection(read_token_width(unet), width, num_tokens, vector_length, seed)
        state = {"image_proj": projection, "ip_adapter": make_attentions(unet)}
        pipe.load_ip_adapter(state, subfolder=None, weight_name=None, image_encoder_folder=None)
        added = [p for p in unet.attn_processors.values() if hasattr(p, "to_k_ip")]
        adapter = cls(unet.encoder_hid_proj.image_projection_layers[0], added)
        return adapter.float().requires_grad_(True)

    def tensors(self) -> dict[str, Tensor]:
        """By their names in the file."""
        found = {}
        for name, value in self.projection.state_dict().items():
            layer, _, kind = name.rpartition(".")
            found[f"image_proj.{PROJECTION[layer]}.{kind}"] = value
        for number, attention in enumerate(self.attentions):
            for name, value in attention.state_dict().items():  # to_k_ip.0.weight
                found[f"ip_adapter.{2 * number + 1}.{name.replace('.0.', '.')}"] = value
        return {name: value.detach().cpu().contiguous() for name, value in found.items()}

    def save(self, path: Path, facts: Mapping[str, str]) -> None:
        """Whole or not at all; `facts` go into the file's metadata."""
        unfinished = path.with_suffix(".part")
        # `save_file` would leave a file that nobody else may read.
        unfinished.write_bytes(save(self.tensors(), {"format": "pt", **facts}))
        os.replace(unfinished, path)


def read_token_width(unet: Any) -> int:
    """Of the tokens that its cross-attentions read; raises CheckpointUnusable."""
    width = unet.config.cross_attention_dim
    if not isinstance(width, int) or unet.config.encoder_hid_dim_type is not None:
        raise CheckpointUnusable(
            "unet/config.json: cross_attention_dim and encoder_hid_dim_type are not those of a "
            "UNet that image-prompt adapters were made for"
        )
    return width


def make_projection(
    token_width: int, width: int, num_tokens: int, vector_length: float, seed: int
) -> dict[str, Tensor]:
    """Of a vector of usual length every hidden unit gets about as much as of its bias."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = nn.Linear(width, EXPANSION * width)
        tokens = nn.Linear(EXPANSION * width, num_tokens * token_width)
    return {
        "proj.0.weight": hidden.weight.detach() * width**0.5 / vector_length,
        "proj.0.bias": hidden.bias.detach(),
        "proj.2.weight": tokens.weight.detach(),
        "proj.2.bias": tokens.bias.detach(),
        "norm.weight": torch.ones(token_width),
        "norm.bias": torch.zeros(token_width),
    }


def make_attentions(unet: Any) -> dict[str, Tensor]:
    """Keys as the UNet makes them of text, and values of zero."""
    found = {}
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(names):
        keys = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.detach()
        found[f"{2 * number + 1}.to_k_ip.weight"] = keys.float().clone()
        found[f"{2 * number + 1}.to_v_ip.weight"] = torch.zeros_like(keys, dtype=torch.float32)
    return found
