"""Stable Diffusion 1.5 and XL of some ten thousand weights, and what can be added to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file

from diffusion.families.loading import load_model
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.specification import ModelSpecification
from tests.diffusion.families.tiny_clip import tiny_clip_text, tiny_clip_tokenizer

TEXT_WIDTH = 16
SHOPPER_WIDTH = 12
FACTOR = 2
"""Of the autoencoder; with the UNet's one halving, sides are multiples of 4."""


def tiny_sd15(in_channels: int = 4, seed: int = 0, time_cond: int | None = None, **told):
    """`told` goes into the scheduler's configuration."""
    unet = tiny_unet(in_channels, TEXT_WIDTH, seed, time_cond)
    kind = StableDiffusionPipeline if in_channels == 4 else StableDiffusionInpaintPipeline
    return kind(
        vae=tiny_vae(seed),
        text_encoder=tiny_clip_text(TEXT_WIDTH, seed=seed),
        tokenizer=tiny_clip_tokenizer(),
        unet=unet,
        scheduler=tiny_scheduler(**told),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def tiny_sdxl(in_channels: int = 4, seed: int = 0, time_cond: int | None = None, vae=None, **told):
    """The same, with two text encoders of half the width each, and a pooled prompt of 12."""
    size = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + 12,
    }
    unet = tiny_unet(in_channels, 2 * TEXT_WIDTH, seed, time_cond, **size)
    kind = StableDiffusionXLPipeline if in_channels == 4 else StableDiffusionXLInpaintPipeline
    return kind(
        vae=vae or tiny_vae(seed),
        text_encoder=tiny_clip_text(TEXT_WIDTH, seed=seed),
        text_encoder_2=tiny_clip_text(TEXT_WIDTH, projection=12, seed=seed + 1),
        tokenizer=tiny_clip_tokenizer(),
        tokenizer_2=tiny_clip_tokenizer(),
        unet=unet,
        scheduler=tiny_scheduler(**told),
        add_watermarker=False,
    )


def tiny_scheduler(**told) -> EulerDiscreteScheduler:
    """As both were trained."""
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return EulerDiscreteScheduler(
        **{**betas, "timestep_spacing": "leading", "steps_offset": 1, **told}
    )


def tiny_unet(
    in_channels: int = 4,
    text_width: int = TEXT_WIDTH,
    seed: int = 0,
    time_cond: int | None = None,
    **told,
) -> UNet2DConditionModel:
    """With weights so large that time, size and prompt show in a picture."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=text_width,
        time_cond_proj_dim=time_cond,
        **told,
    ).eval()
    with torch.no_grad():
        for name, weights in unet.named_parameters():
            if weights.dim() > 1 and name != "conv_out.weight":
                weights.mul_(3)
    return unet


def tiny_vae(seed: int = 0, **told: Any) -> AutoencoderKL:
    torch.manual_seed(seed)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
        **told,
    ).eval()


def tiny_controlnet(unet: UNet2DConditionModel, seed: int = 5, **changes) -> ControlNetModel:
    """For this UNet; its last layers, which training begins at zero, say something."""
    torch.manual_seed(seed)
    shared = (
        "addition_embed_type",
        "addition_time_embed_dim",
        "cross_attention_dim",
        "projection_class_embeddings_input_dim",
    )
    told = {name: unet.config[name] for name in shared} | changes
    controlnet = ControlNetModel(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        **{"conditioning_embedding_out_channels": (8, 16), **told},
    ).eval()
    with torch.no_grad():
        for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            layer.weight.normal_(0, 1)
        controlnet.controlnet_cond_embedding.conv_out.weight.normal_(0, 20)
    return controlnet


def save_adapter(
    folder: Path,
    unet: UNet2DConditionModel,
    layout: str = "base",
    seed: int = 9,
    width: int = SHOPPER_WIDTH,
    **surplus,
) -> str:
    """An image-prompt adapter for this UNet, in the published layout or in FaceID's; its name."""
    generator = torch.Generator().manual_seed(seed)
    text_width = unet.config.cross_attention_dim

    def draw(*shape: int) -> torch.Tensor:
        return 0.5 * torch.randn(shape, generator=generator)

    tensors = {"norm.weight": 1 + draw(text_width), "norm.bias": draw(text_width)}
    if layout == "base":
        tensors |= {
            "proj.weight": draw(4 * text_width, width),
            "proj.bias": draw(4 * text_width),
        }
    else:
        hidden = 2 * width
        tensors |= {"proj.0.weight": draw(hidden, width), "proj.0.bias": draw(hidden)}
        tensors |= {
            "proj.2.weight": draw(3 * text_width, hidden),
            "proj.2.bias": draw(3 * text_width),
        }
    tensors = {f"image_proj.{name}": tensor for name, tensor in tensors.items()}
    layers = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(layers):
        out = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
        for part in ("k", "v"):
            tensors[f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight"] = draw(out, text_width)
    folder.mkdir(exist_ok=True)
    save_file({**tensors, **surplus}, folder / f"{layout}.safetensors")
    return f"{layout}.safetensors"


FAMILIES = {"sd15": tiny_sd15, "sdxl": tiny_sdxl}
LAYOUTS = ("base", "faceid")


def furnish(folder: Path) -> Path:
    """Each family's model, adapters and ControlNet, saved as published ones are."""
    for family, build in FAMILIES.items():
        pipe = build()
        pipe.save_pretrained(folder / family)
        tiny_controlnet(pipe.unet).save_pretrained(folder / f"{family}-controlnet")
        for layout in LAYOUTS:
            save_adapter(folder / f"{family}-adapter", pipe.unet, layout)
    return folder


def specify(home: Path, family: str, **told) -> ModelSpecification:
    """A model of `home` that takes no notice of the product's picture, if not told to."""
    usual = {
        "name": "tiny",
        "family": family,
        "source": family,
        "licence": "none",
        "sizes": [(16, 16)],
        "steps": 5,
        "guidance": 4.0,
        "product": {"preserve": [], "restyle": []},
        "folder": home,
    }
    return ModelSpecification.model_validate({**usual, **told})


def adapter(family: str, layout: str = "base", **told) -> dict[str, object]:
    """A specification's shopper."""
    kind = "user_adapter" if layout == "faceid" else "ip_adapter"
    source = {"source": f"{family}-adapter", "weights": f"{layout}.safetensors"}
    return {"kind": kind, **source, **told}


_served: dict[str, PretrainedDiffusion] = {}


def serve(home: Path, family: str, **told) -> PretrainedDiffusion:
    """The model that `specify` tells of; the same one where it is asked for again."""
    specification = specify(home, family, **told)
    key = f"{home} {specification.model_dump_json()}"
    if key not in _served:
        _served[key] = load_model(specification)
    return _served[key]
