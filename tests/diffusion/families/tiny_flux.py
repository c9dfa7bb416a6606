"""FLUX.1 of a few thousand weights in its several kinds, and an image-prompt adapter for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from safetensors.torch import save_file

from diffusion.families.flux import Flux
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.specification import ModelSpecification
from tests.diffusion.families.tiny_clip import tiny_clip_text, tiny_clip_tokenizer
from tests.diffusion.families.tiny_sd3 import tiny_vae
from tests.diffusion.families.tiny_t5 import tiny_t5, tiny_t5_tokenizer

HEADS, HEAD_WIDTH, NUM_LAYERS = 2, 16, 2
WIDTH = HEADS * HEAD_WIDTH
TEXT_WIDTH = 32
KINDS = {"kontext": FluxKontextPipeline, "fill": FluxFillPipeline}
FILE = "adapter.safetensors"
REFERENCE = {"preserve": ("reference",), "restyle": ("reference",)}


def tiny_flux(kind: str = "dev", seed: int = 0) -> Any:
    """dev, schnell, kontext or fill; its autoencoder gives the mean of its latents, and none at
    random, since Fill's pipeline would draw one."""
    vae = tiny_vae()
    with torch.no_grad():
        vae.encoder.conv_out.weight[4:] = 0
        vae.encoder.conv_out.bias[4:] = -30
    torch.manual_seed(seed)
    transformer = FluxTransformer2DModel(
        in_channels=16 + (16 + 16) * (kind == "fill"),
        out_channels=16,
        num_layers=NUM_LAYERS,
        num_single_layers=1,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=16,
        guidance_embeds=kind != "schnell",
        axes_dims_rope=(4, 6, 6),
    )
    sharpen(transformer)
    dynamic = {"shift": 3.0, "use_dynamic_shifting": True}
    return KINDS.get(kind, FluxPipeline)(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(**({} if kind == "schnell" else dynamic)),
        vae=vae,
        text_encoder=tiny_clip_text(16, seed=1),
        tokenizer=tiny_clip_tokenizer(),
        text_encoder_2=tiny_t5(TEXT_WIDTH),
        tokenizer_2=tiny_t5_tokenizer(),
    )


@torch.no_grad()
def sharpen(transformer: FluxTransformer2DModel) -> None:
    """Random attention is nearly even, and would not tell where a token lies."""
    for name, weight in transformer.named_parameters():
        if ".norm_q" in name or ".norm_k" in name:
            weight.fill_(3.0)
        if ".to_out.0" in name or name.startswith("single") and ".proj_out" in name:
            weight.mul_(3.0)


def save_adapter(
    folder: Path,
    width: int = 12,
    hidden: int = WIDTH,
    text_width: int = TEXT_WIDTH,
    num_attentions: int = NUM_LAYERS,
    name: str = FILE,
    seed: int = 0,
) -> str:
    """An adapter for vectors of this width and a transformer of `hidden`; the file's name."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return 0.5 * torch.randn(shape, generator=generator)

    tensors = {
        "image_proj.proj.weight": draw(4 * text_width, width),
        "image_proj.proj.bias": draw(4 * text_width),
        "image_proj.norm.weight": 1 + draw(text_width),
        "image_proj.norm.bias": draw(text_width),
    }
    for number in range(num_attentions):
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{number}.{part}.weight"] = draw(hidden, text_width)
            tensors[f"ip_adapter.{number}.{part}.bias"] = draw(hidden)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / name)
    return name


def specify(folder: Path | None = None, **told: Any) -> ModelSpecification:
    """With the adapter in this folder, if any; products enter by nothing but their titles."""
    adapter = {"kind": "ip_adapter", "source": str(folder), "weights": FILE}
    given = {
        "name": "tiny",
        "family": "flux",
        "source": "nowhere",
        "licence": "none",
        "steps": 5,
        "guidance": 4.0,
        "embedded_guidance": 3.5,
        "sizes": ((32, 32), (48, 32)),
        "prompt": "a picture of {title}",
        "negative_prompt": "blue",
        "max_prompt_tokens": 40,
        "product": {"preserve": (), "restyle": ()},
        "shopper": None if folder is None else adapter,
    }
    return ModelSpecification(**{**given, **told})


def build(kind: str = "dev", folder: Path | None = None, **told: Any) -> PretrainedDiffusion:
    specification = specify(folder, **told)
    return PretrainedDiffusion(Flux(tiny_flux(kind), specification), specification, "0" * 16)


def build_whole(kind: str, folder: Path | None = None) -> PretrainedDiffusion:
    """Kontext with its reference."""
    told = {"product": REFERENCE} if kind == "kontext" else {}
    return build(kind, folder, **told)


def with_adapter(kind: str, folder: Path, strength: float = 1.0) -> Any:
    """The stock pipeline with its own processors."""
    pipe = tiny_flux(kind)
    pipe.load_ip_adapter(folder, weight_name=FILE, image_encoder_pretrained_model_name_or_path=None)
    pipe.set_ip_adapter_scale(strength)
    return pipe


def draw_stock(pipe: Any, noise: torch.Tensor, **told: Any) -> np.ndarray:
    """By the stock pipeline, from noise [1, 4, 16, 16]: [32, 32, 3] in 0..255."""
    pipe.set_progress_bar_config(disable=True)
    if not isinstance(pipe, FluxFillPipeline):
        told = {"negative_prompt": "blue", "true_cfg_scale": 4.0, **told}
    pictures = pipe(
        prompt="a picture of red shoe",
        height=32,
        width=32,
        num_inference_steps=5,
        guidance_scale=3.5,
        max_sequence_length=40,
        latents=pipe._pack_latents(noise, 1, 4, 16, 16),
        output_type="np",
        **told,
    ).images
    return pictures[0] * 255
