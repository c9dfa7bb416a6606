"""FLUX.1: dev and schnell, Kontext (reference tokens) and Fill (inpainting)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.checkpoint import CheckpointUnusable
from diffusion.denoiser import Conditions
from diffusion.families.adapters.adapter_file import digest_file, read_shapes
from diffusion.families.adapters.joint_attention import (
    check_keys,
    find_adapter,
    load_adapter,
    to_tokens,
    weigh_rows,
)
from diffusion.families.family import Prompt
from diffusion.families.flow import PATCH, FlowTransformer
from diffusion.families.specification import AdapterShopper, ModelSpecification

LONG_PROJECTION = 65536
"""Outputs of a projection that gives 16 tokens; others give 4, as diffusers has it."""


class Flux(FlowTransformer):
    """The prompt is read by T5, and by CLIP as a whole.

    Adapters act in the double blocks, in which picture and text have weights of their own; stock
    adapters have nothing for the single ones. Kontext sees the product's latents as further tokens;
    where one mode has a reference and the other none, rows of the other can't attend to it, which
    is the picture without one up to rounding. Fill sees the product's latents and where they stay.
    """

    pipelines = ("FluxPipeline", "FluxKontextPipeline", "FluxFillPipeline")
    most_prompt_tokens = 512

    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        super().__init__(pipe, specification)
        kind = type(pipe).__name__
        self.is_inpainting = kind == "FluxFillPipeline"
        told = specification.product
        refers = {"reference" in told.of(task) for task in ("preserve", "restyle", "create")}
        self.has_reference_tokens = kind == "FluxKontextPipeline" and True in refers
        self._masks_references = len(refers) > 1
        self._check_channels(kind)
        self.has_embedded_guidance = pipe.transformer.config.guidance_embeds
        if isinstance(specification.shopper, AdapterShopper) and hasattr(pipe, "load_ip_adapter"):
            self._load_shopper(specification.shopper, specification)

    def _check_channels(self, kind: str) -> None:
        given = latents = self.pipe.vae.config.latent_channels
        if self.is_inpainting:
            given += latents + self.pipe.vae_scale_factor**2
        given, taken = PATCH**2 * given, self.pipe.transformer.config.in_channels
        if taken != given:
            raise CheckpointUnusable(
                f"source: {kind} gives {given} numbers for each token, but its transformer takes "
                f"{taken}"
            )

    def _load_shopper(self, told: AdapterShopper, specification: ModelSpecification) -> None:
        path, network = find_adapter(told, specification), self.pipe.transformer
        shapes = read_shapes(path)
        known = ("image_proj.proj.weight", "ip_adapter_proj_model.proj.weight")
        projection = next((shapes[name] for name in known if name in shapes), None)
        if projection is None:
            raise CheckpointUnusable(
                f"shopper.weights: {path} is no adapter for flux: it has no {known[0]}"
            )
        expected = network.inner_dim, network.config.joint_attention_dim
        ending = ".to_k_ip.weight"
        if known[1] in shapes:
            ending = ".ip_adapter_double_stream_k_proj.weight"
        check_keys(path, shapes, ending, expected, network.config.num_layers)
        num_tokens = 16 if projection[0] == LONG_PROJECTION else 4
        if projection[0] != num_tokens * expected[1]:
            raise CheckpointUnusable(
                f"shopper.weights: {path} makes tokens of {projection[0] / num_tokens:g} numbers, "
                f"but this network takes {expected[1]}"
            )
        load_adapter(self.pipe, path, image_encoder_pretrained_model_name_or_path=None)
        weigh_rows(network, told)
        self.shopper_width = projection[1]
        self.adapters_digest = digest_file(path)

    def encode_prompt(self, text: str) -> Prompt:
        embeds, pooled, _ = self.pipe.encode_prompt(text, max_sequence_length=self.max_tokens)
        num_lost = max(len(self.pipe.tokenizer_2(text).input_ids) - self.max_tokens, 0)
        return Prompt({"prompt": embeds, "pooled": pooled}, num_lost)

    def encode_packshot(self, pixels: Tensor) -> Conditions:
        """Fill is shown grey where nothing is kept."""
        return {"blank": self.encode_image(torch.zeros_like(pixels))} if self.is_inpainting else {}

    def _predict(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        height, width = x_t.shape[-2] // PATCH, x_t.shape[-1] // PATCH
        tokens, places = pack(x_t), find_places(0, height, width, x_t.device)
        num_tokens = tokens.shape[1]
        if self.is_inpainting:
            tokens = torch.cat([tokens, self._pack_kept(cond)], dim=2)
        if self.has_reference_tokens:
            tokens = torch.cat([tokens, pack(cond["reference"])], dim=1)
            places = torch.cat([places, find_places(1, height, width, x_t.device)])
        velocity: Tensor = self.pipe.transformer(
            hidden_states=tokens.to(self.dtype),
            timestep=t,
            guidance=cond["guidance"] if self.has_embedded_guidance else None,
            pooled_projections=cond["pooled"],
            encoder_hidden_states=cond["prompt"],
            txt_ids=places.new_zeros(cond["prompt"].shape[1], 3),
            img_ids=places,
            joint_attention_kwargs={**self._show_shopper(cond), **self._mask(cond, num_tokens)},
            return_dict=False,
        )[0]
        return unpack(velocity[:, :num_tokens].float(), height, width)

    def _pack_kept(self, cond: Conditions) -> Tensor:
        """What Fill is shown: the packshot on grey, or grey alone where nothing is kept, and a mask
        of each pixel that is to be painted."""
        keep, factor = cond["keep"], self.pipe.vae_scale_factor
        keeps = keep.amax((1, 2, 3), keepdim=True) > 0
        kept = torch.where(keeps, cond["kept"], cond["blank"])
        return torch.cat([pack(kept), pack((1 - keep).expand(-1, factor**2, -1, -1))], dim=2)

    def _show_shopper(self, cond: Conditions) -> dict[str, Any]:
        """The reference's tokens are shown the shopper like the picture's at the same places."""
        if self.shopper_width is None:
            return {}
        strength = to_tokens(cond["strength"]).to(self.dtype)
        if self.has_reference_tokens:
            strength = strength.repeat(1, 2, 1)
        vectors = cond["shopper"][:, None].to(self.dtype)
        return {"ip_adapter_image_embeds": [vectors], "ip_adapter_masks": strength}

    def _mask(self, cond: Conditions, num_tokens: int) -> dict[str, Tensor]:
        """Which tokens may be attended to: text, picture and, where a row has one, reference."""
        if not (self.has_reference_tokens and self._masks_references):
            return {}
        has_reference = cond["has_reference"][:, None]
        others = has_reference.new_ones(len(has_reference), cond["prompt"].shape[1] + num_tokens)
        known = torch.cat([others, has_reference.expand(-1, num_tokens)], dim=1)
        return {"attention_mask": known[:, None, None]}

    def describe(self) -> Mapping[str, str]:
        told = {}
        if self.shopper_width is not None:
            told["shopper"] = (
                f"image-prompt attention in the double blocks, vectors of {self.shopper_width}"
            )
        if self.has_reference_tokens:
            told["product"] = "reference tokens"
        if self.is_inpainting:
            told["product"] = "latents and mask beside the picture's"
        return told


def pack(latents: Tensor) -> Tensor:
    """[rows, C, h, w] → [rows, tokens, 4 C], a token for each patch."""
    return F.pixel_unshuffle(latents, PATCH).flatten(2).mT


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """[rows, tokens, 4 C] → [rows, C, 2 height, 2 width]."""
    rows, _, channels = tokens.shape
    return F.pixel_shuffle(tokens.mT.reshape(rows, channels, height, width), PATCH)


def find_places(picture: int, height: int, width: int, device: torch.device) -> Tensor:
    """[tokens, 3]: the number of the picture, and where in it a token lies."""
    axes = (torch.arange(length, device=device) for length in (height, width))
    down, across = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([torch.full_like(down, picture), down, across], dim=2).flatten(0, 1).float()
