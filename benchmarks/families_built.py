"""Each family with random weights, and one picture by its stock pipeline."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from torch import Tensor

from diffusion.families.loading import find_family, load_model
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.specification import ModelSpecification, Size
from diffusion.image_model import ProductFacts, ShopperFacts
from diffusion.noise import draw_noise
from tests.diffusion.families import (
    tiny_clip,
    tiny_flux,
    tiny_kandinsky,
    tiny_qwen_image,
    tiny_sd3,
    tiny_unet,
    tiny_z_image,
)

Shape = tuple[int, ...]
NUM_STEPS = 8
GUIDANCE = 4.0
WIDTH = 12
"""Of a shopper's vector."""

INTERESTS = ("jazz", "hiking", "chess", "film", "tea", "sailing", "gardens", "skating")


@dataclass(frozen=True, slots=True)
class Contender:
    """A model of ours, and the stock pipeline of the same weights; pictures by number."""

    model: PretrainedDiffusion
    pipe: Any
    size: Size
    call: Callable[[int], Mapping[str, Any]]
    """What the stock pipeline is told, beside steps, size and noise."""

    def draw_stock(self, number: int) -> None:
        width, height = self.size
        self.pipe(
            num_inference_steps=NUM_STEPS,
            width=width,
            height=height,
            output_type="np",
            **self.call(number),
        )

    def facts(self, number: int) -> ProductFacts:
        rng = np.random.default_rng(number)
        cutout = np.full((64, 64, 4), 255, np.uint8)
        cutout[..., :3] = rng.integers(256, size=3)
        vector = np.zeros(WIDTH, np.float32)
        return ProductFacts(cutout, f"product {number}", vector, vector)

    def shopper(self, number: int) -> ShopperFacts:
        vector = draw_vector(number, self.model.embedding_width)
        return ShopperFacts(vector, vector, INTERESTS[number : number + 1])


def draw_vector(number: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(number).standard_normal(width).astype(np.float32)


def specify(family: str, size: Size, **told: Any) -> ModelSpecification:
    usual = {
        "name": family.replace("_", "-"),
        "family": family,
        "source": "built",
        "licence": "none",
        "steps": NUM_STEPS,
        "guidance": GUIDANCE,
        "sizes": (size,),
        "prompt": "a picture of {title}",
        "negative_prompt": "blue",
        "max_prompt_tokens": 64,
        "product": {"preserve": (), "restyle": ()},
    }
    return ModelSpecification.model_validate({**usual, **told})


def adapt(folder: Path, weights: str) -> dict[str, Any]:
    return {"kind": "ip_adapter", "source": str(folder), "weights": weights}


def assemble(
    make: Callable[[], Any], specification: ModelSpecification
) -> tuple[PretrainedDiffusion, Any]:
    """Ours and stock, of the same weights."""
    family = find_family(specification.family)
    ours = PretrainedDiffusion(family(make(), specification), specification, "0" * 16)
    stock = make()
    stock.set_progress_bar_config(disable=True)
    return ours, stock


def say(number: int, shape: Shape, is_interested: bool = False) -> dict[str, Any]:
    liked = f", in a setting for someone who loves {INTERESTS[number]}" * is_interested
    return {
        "prompt": f"a picture of product {number}{liked}",
        "negative_prompt": "blue",
        "latents": draw_noise(number, (1, *shape)),
    }


def show(number: int) -> Tensor:
    """A shopper's vector as stock adapters take it [1, 1, width]."""
    return torch.from_numpy(draw_vector(number, WIDTH))[None, None]


def build_unet(family: str, folder: Path) -> Iterator[Contender]:
    make = tiny_unet.FAMILIES[family]
    weights = tiny_unet.save_adapter(folder, make().unet, width=WIDTH)
    for size in ((32, 32), (64, 64)):
        ours, stock = assemble(make, specify(family, size, shopper=adapt(folder, weights)))
        stock.load_ip_adapter(folder, subfolder="", weight_name=weights, image_encoder_folder=None)

        def call(number: int, shape: Shape = ours.latent_shape) -> dict[str, Any]:
            vector = show(number)
            shown = [torch.cat([torch.zeros_like(vector), vector])]
            return {
                "guidance_scale": GUIDANCE,
                "ip_adapter_image_embeds": shown,
                **say(number, shape),
            }

        yield Contender(ours, stock, size, call)


def build_sd3(folder: Path) -> Iterator[Contender]:
    weights = tiny_sd3.save_adapter(folder, WIDTH)
    size = (32, 32)
    specification = specify("sd3", size, shopper=adapt(folder, weights))
    ours, stock = assemble(tiny_sd3.tiny_sd3, specification)
    stock.load_ip_adapter(folder, subfolder="", weight_name=weights, image_encoder_folder=None)

    def call(number: int) -> dict[str, Any]:
        vector = show(number)
        shown = torch.cat([torch.zeros_like(vector), vector])
        told = {"guidance_scale": GUIDANCE, "ip_adapter_image_embeds": shown}
        return {**told, "max_sequence_length": 64, **say(number, ours.latent_shape)}

    yield Contender(ours, stock, size, call)


def build_flux(folder: Path) -> Iterator[Contender]:
    weights = tiny_flux.save_adapter(folder, WIDTH)
    for size in ((32, 32), (64, 64)):
        told = {"shopper": adapt(folder, weights), "embedded_guidance": 3.5}
        ours, stock = assemble(tiny_flux.tiny_flux, specify("flux", size, **told))
        stock.load_ip_adapter(
            folder, weight_name=weights, image_encoder_pretrained_model_name_or_path=None
        )

        def call(
            number: int, pipe: Any = stock, shape: Shape = ours.latent_shape
        ) -> dict[str, Any]:
            vector, said = show(number), say(number, shape)
            noise = said.pop("latents")
            return {
                "guidance_scale": 3.5,
                "true_cfg_scale": GUIDANCE,
                "ip_adapter_image_embeds": [vector],
                "negative_ip_adapter_image_embeds": [torch.zeros_like(vector)],
                "max_sequence_length": 64,
                "latents": pipe._pack_latents(noise, *noise.shape),
                **said,
            }

        yield Contender(ours, stock, size, call)


def build_z_image(folder: Path) -> Iterator[Contender]:
    for size in ((64, 64), (128, 128)):
        specification = specify("z_image", size, shopper={"kind": "prompt"})
        ours, stock = assemble(tiny_z_image.tiny_z_image, specification)

        def call(number: int, shape: Shape = ours.latent_shape) -> dict[str, Any]:
            told = {"guidance_scale": GUIDANCE - 1, "max_sequence_length": 64}
            return {**told, **say(number, shape, is_interested=True)}

        yield Contender(ours, stock, size, call)


def build_qwen_image(folder: Path) -> Iterator[Contender]:
    for size in ((64, 64), (128, 128)):
        specification = specify("qwen_image", size, shopper={"kind": "prompt"})
        ours, stock = assemble(tiny_qwen_image.tiny_qwen_image, specification)

        def call(
            number: int, pipe: Any = stock, shape: Shape = ours.latent_shape
        ) -> dict[str, Any]:
            said = say(number, shape, is_interested=True)
            noise = said.pop("latents")
            packed = pipe._pack_latents(noise, *noise.shape)
            told = {"true_cfg_scale": GUIDANCE, "max_sequence_length": 64}
            return {**told, "latents": packed, **said}

        yield Contender(ours, stock, size, call)


def build_kandinsky(folder: Path) -> Iterator[Contender]:
    tiny_kandinsky.save_kandinsky(folder / "base")
    for size in ((32, 32), (64, 64)):
        told = {"source": "base", "folder": folder, "shopper": {"kind": "blend"}, "prompt": ""}
        ours = load_model(specify("kandinsky22", size, negative_prompt="", **told))
        stock = tiny_kandinsky.stock_pipeline()

        def call(number: int, shape: Shape = ours.latent_shape) -> dict[str, Any]:
            vector = torch.from_numpy(draw_vector(number, tiny_kandinsky.WIDTH))[None]
            return {
                "image_embeds": vector,
                "negative_image_embeds": torch.zeros_like(vector),
                "guidance_scale": GUIDANCE,
                "latents": say(number, shape)["latents"],
            }

        yield Contender(ours, stock, size, call)


BUILDERS: dict[str, Callable[[Path], Iterator[Contender]]] = {
    "sd15": partial(build_unet, "sd15"),
    "sdxl": partial(build_unet, "sdxl"),
    "sd3": build_sd3,
    "flux": build_flux,
    "z_image": build_z_image,
    "qwen_image": build_qwen_image,
    "kandinsky22": build_kandinsky,
}


Pair = tuple[PretrainedDiffusion, PretrainedDiffusion]
"""Without a shopper's adapter, and with one."""


def pair(
    family: str, make: Callable[[], Any], parts: Mapping[str, Any], shopper: Any, size: Size
) -> Pair:
    """A tiny pipeline with these parts in the place of its own."""
    found = []
    for told, own in ((None, copy.deepcopy(dict(parts))), (shopper, parts)):
        pipe = make()
        pipe.register_modules(**own)
        specification = specify(family, size, shopper=told)
        built = find_family(family)(pipe, specification)
        found.append(PretrainedDiffusion(built, specification, "0" * 16))
    return found[0], found[1]


def build_full_sd15(folder: Path) -> Pair:
    """Stable Diffusion 1.5's UNet as published, at 256 px, and an adapter for vectors of 1024
    numbers, as the published one takes them."""
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        cross_attention_dim=768,
        attention_head_dim=8,
    ).eval()
    weights = tiny_unet.save_adapter(folder, unet, width=1024)
    parts = {"unet": unet, "text_encoder": tiny_clip.tiny_clip_text(768)}
    return pair("sd15", tiny_unet.tiny_sd15, parts, adapt(folder, weights), (64, 64))


def build_wide_sd3(folder: Path) -> Pair:
    """Four of the 24 blocks of Stable Diffusion 3.5 medium, at 512 px."""
    transformer = SD3Transformer2DModel(
        sample_size=128,
        in_channels=4,
        out_channels=4,
        num_layers=4,
        num_attention_heads=24,
        attention_head_dim=64,
        joint_attention_dim=32,
        caption_projection_dim=1536,
        pooled_projection_dim=24,
        pos_embed_max_size=192,
        qk_norm="rms_norm",
    ).eval()
    weights = tiny_sd3.save_adapter(folder, WIDTH, 1536, 4, head_width=64)
    parts = {"transformer": transformer}
    return pair("sd3", tiny_sd3.tiny_sd3, parts, adapt(folder, weights), (128, 128))


def build_wide_flux(folder: Path) -> Pair:
    """One of the 19 double and two of the 38 single blocks of FLUX.1, at 256 px."""
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=True,
    ).eval()
    weights = tiny_flux.save_adapter(folder, WIDTH, 3072, 32, 1)
    parts = {"transformer": transformer}
    return pair("flux", tiny_flux.tiny_flux, parts, adapt(folder, weights), (64, 64))


SIZED: dict[str, Callable[[Path], Pair]] = {
    "sd15_full_256px": build_full_sd15,
    "sd3_4_blocks_512px": build_wide_sd3,
    "flux_3_blocks_256px": build_wide_flux,
}
"""As wide as published ones, which is what a shopper's share of a forward depends on."""
