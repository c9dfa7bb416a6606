"""The shopper through image-prompt attention of joint transformers (Stable Diffusion 3, FLUX).

diffusers' own processors weigh an adapter by one number that all rows share, and FLUX's takes the
image embeddings of other rows for more tokens of a row's own. These weigh each place of each row,
and no row sees another's shopper.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.adapter_file import Shapes, check_adapter, locate_adapter
from diffusion.families.flow import PATCH
from diffusion.families.specification import AdapterShopper, ModelSpecification

MISFITS = (KeyError, ValueError, IndexError, TypeError, AttributeError, RuntimeError)
"""What diffusers raises for an adapter of another network."""


def to_tokens(strength: Tensor) -> Tensor:
    """[rows, 1, h, w] → [rows, tokens, 1], the mean of each patch."""
    return F.avg_pool2d(strength, PATCH).flatten(2).mT


class FluxShopperAttention(FluxIPAdapterAttnProcessor):  # type: ignore[misc]
    """`ip_adapter_masks` [rows, tokens, 1] is the strength: FLUX's attention knows the name, and
    hands it on to nobody else."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        ip_hidden_states: list[Tensor] | None = None,
        ip_adapter_masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        assert ip_hidden_states is not None and ip_adapter_masks is not None
        if ip_hidden_states[0].shape[0] != hidden_states.shape[0]:
            raise ValueError("each row needs a shopper of its own")
        image, text, shown = super().__call__(
            attn,
            hidden_states,
            encoder_hidden_states,
            attention_mask,
            image_rotary_emb,
            ip_hidden_states,
        )
        return image, text, shown * ip_adapter_masks


class JointShopperAttention(SD3IPAdapterJointAttnProcessor2_0):  # type: ignore[misc]
    """Of Stable Diffusion 3; `ip_adapter_masks` [rows, tokens, 1] is the strength.

    The picture attends to itself and the text as ever, and a second time to itself and the shopper.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        ip_hidden_states: Tensor | None = None,
        temb: Tensor | None = None,
        ip_adapter_masks: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        heads, length = attn.heads, hidden_states.shape[1]
        query, key, value = (
            split(project(hidden_states), heads) for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        queries, keys, values = [norm(attn.norm_q, query)], [norm(attn.norm_k, key)], [value]
        if encoder_hidden_states is not None:
            text = encoder_hidden_states
            queries.append(norm(attn.norm_added_q, split(attn.add_q_proj(text), heads)))
            keys.append(norm(attn.norm_added_k, split(attn.add_k_proj(text), heads)))
            values.append(split(attn.add_v_proj(text), heads))
        joint = attend(queries, keys, values)
        image = joint[:, :length]
        if self.scale:
            known = self.norm_ip(ip_hidden_states, temb=temb)
            keys = [self.norm_k(key), self.norm_ip_k(split(self.to_k_ip(known), heads))]
            shown = attend([self.norm_q(query)], keys, [value, split(self.to_v_ip(known), heads)])
            image = image + self.scale * shown * ip_adapter_masks
        image = cast(Tensor, attn.to_out[0](image))
        if encoder_hidden_states is None:
            return image
        text = joint[:, length:]
        return image, text if attn.context_pre_only else attn.to_add_out(text)


def split(states: Tensor, heads: int) -> Tensor:
    """[rows, tokens, width] → [rows, heads, tokens, width / heads]."""
    rows, length, _ = states.shape
    return states.reshape(rows, length, heads, -1).transpose(1, 2)


def norm(layer: nn.Module | None, states: Tensor) -> Tensor:
    return states if layer is None else cast(Tensor, layer(states))


def attend(queries: list[Tensor], keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """Over the tokens of all parts: → [rows, tokens, width]."""
    query, key, value = (torch.cat(parts, dim=2) for parts in (queries, keys, values))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def find_adapter(told: AdapterShopper, specification: ModelSpecification) -> Path:
    """The file, whole and in safetensors; raises CheckpointUnusable."""
    path = locate_adapter(told, specification)
    if not path.is_file():
        raise CheckpointUnusable(f"shopper.weights: {path} is missing")
    return check_adapter(path)


def check_keys(
    path: Path, shapes: Shapes, ending: str, expected: tuple[int, int], num: int
) -> None:
    """Whether `num` attentions have keys of this shape, whose names end like this.

    Raises CheckpointUnusable.
    """
    found = [shape for name, shape in shapes.items() if name.endswith(ending)]
    if len(found) != num:
        raise CheckpointUnusable(
            f"shopper.weights: {path} is an adapter of a network with {len(found)} attentions, but "
            f"this one has {num}"
        )
    for shape in found:
        if shape != expected:
            raise CheckpointUnusable(
                f"shopper.weights: {path} has {ending} of shape {list(shape)}, but this network "
                f"takes {list(expected)}"
            )


def load_adapter(pipe: Any, path: Path, **told: Any) -> None:
    """Into the stock pipeline; raises CheckpointUnusable."""
    try:
        pipe.load_ip_adapter(path.parent, weight_name=path.name, subfolder="", **told)
    except MISFITS as error:
        raise CheckpointUnusable(
            f"shopper.weights: {path} does not fit this network: {error}"
        ) from error
    if lacking := [name for name, value in pipe.transformer.named_parameters() if value.is_meta]:
        raise CheckpointUnusable(f"shopper.weights: {path} lacks {', '.join(lacking[:3])}")


def weigh_rows(transformer: Any, told: AdapterShopper) -> None:
    """Puts these processors in the place of the stock ones, with their weights."""
    stock = transformer.attn_processors
    names = [name for name, processor in stock.items() if hasattr(processor, "to_k_ip")]
    scales = find_scales(told, names)
    own = {name: take_over(stock[name], scales[name]) for name in names}
    transformer.set_attn_processor({**stock, **own})


def find_scales(told: AdapterShopper, names: list[str]) -> dict[str, float]:
    """By the processor's name, as in transformer_blocks.7.attn.processor; CheckpointUnusable."""
    blocks = {name: ".".join(name.split(".")[:2]) for name in names}
    if told.blocks is None:
        return dict.fromkeys(names, 1.0)
    known = list(blocks.values())
    for block, scale in told.blocks.items():
        if block not in known:
            raise CheckpointUnusable(
                f"shopper.blocks: {block} is none; there are {known[0]} to {known[-1]}"
            )
        if not isinstance(scale, int | float):
            raise CheckpointUnusable(f"shopper.blocks: {block} needs a number, not {scale!r}")
    return {name: float(told.blocks.get(block, 0.0)) for name, block in blocks.items()}


def take_over(stock: Any, scale: float) -> nn.Module:
    """The same weights in a processor that weighs rows."""
    with torch.device("meta"):
        if isinstance(stock, FluxIPAdapterAttnProcessor):
            own = FluxShopperAttention(stock.hidden_size, stock.cross_attention_dim, scale=scale)
        else:
            own = JointShopperAttention(
                stock.to_k_ip.out_features,
                stock.to_k_ip.in_features,
                stock.norm_q.weight.shape[0],
                stock.norm_ip.linear.in_features,
                scale,
            )
    own.load_state_dict(stock.state_dict(), assign=True)
    return own
