"""A UNet of Stable Diffusion XL's full configuration with random weights, as an engine's model.

What a forward costs does not depend on what the weights say; what it draws is noise. Configurations
are those of `stabilityai/stable-diffusion-xl-base-1.0`.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from diffusion.denoiser import Conditions, NoiseDenoiser
from diffusion.guidance import combine
from diffusion.samplers import karras_sigmas, plan_euler
from diffusion.walks import Segment, Term
from server.core import Pixels
from server.sampling.row import RowRequest

NUM_TRAINED = 1000
BETAS = (0.00085, 0.012)
"""Of the noise schedule, evenly spaced in their roots."""

SCALE = 5.0
"""Of guidance: two forward rows a tick."""

SHARED = 0.3
"""Of a walk, in which all prompts are the same: product-free, as in a slate."""


@dataclass(frozen=True, slots=True)
class Architecture:
    name: str
    unet: dict[str, Any]
    decoder: dict[str, Any]
    latent_side: int
    num_tokens: int = 77
    pooled_width: int = 1280

    @property
    def prompt_width(self) -> int:
        return int(self.unet["cross_attention_dim"])


SDXL = Architecture(
    "sdxl",
    {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "sample_size": 1024,
    },
    latent_side=128,
)
TINY = Architecture(
    "tiny",
    {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": (2, 4),
        "cross_attention_dim": 32,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,
    },
    {
        "block_out_channels": (32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "sample_size": 16,
    },
    latent_side=8,
    num_tokens=4,
    pooled_width=32,
)
ARCHITECTURES = {each.name: each for each in (SDXL, TINY)}


class UNetModel:
    """Latents [4, s, s] in float32 for the engine, everything inside in `dtype`."""

    def __init__(self, architecture: Architecture, device: str, dtype: torch.dtype) -> None:
        self.name, self.architecture = architecture.name, architecture
        self.device, self.dtype = torch.device(device), dtype
        side = architecture.latent_side
        self.latent_shape: tuple[int, ...] = (4, side, side)
        torch.manual_seed(0)
        with torch.device(device):
            unet = UNet2DConditionModel(in_channels=4, out_channels=4, **architecture.unet)
            decoder = AutoencoderKL(latent_channels=4, **architecture.decoder)
        for network in (unet, decoder):
            network.eval().requires_grad_(False)
            nn.Module.to(network, dtype)  # diffusers' own warns about networks that were not loaded
        self._unet, self._decoder = unet, decoder
        betas = torch.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, NUM_TRAINED) ** 2
        kept = torch.cumprod(1 - betas.double(), 0)
        self._log_sigmas = ((1 - kept) / kept).sqrt().log().float().to(device)
        self._denoiser = NoiseDenoiser(self._predict, self._find_time)

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        return self._denoiser(x, sigma, cond)

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor:
        return combine(predicted, weight, owner, x, sigma)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Pixels:
        """One at a time: a picture of 1024 px fills a device by itself."""
        scaled = latents.to(self.dtype) / self._decoder.config.scaling_factor
        decoded = [self._decoder.decode(one[None]).sample for one in scaled]
        coded = ((torch.cat(decoded).float() + 1) * 127.5).round().clamp(0, 255)
        return cast(Pixels, coded.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())

    def compile(self) -> None:
        self._unet = torch.compile(self._unet, dynamic=False)

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self._unet.parameters())

    def _predict(
        self, x: Tensor, t: Tensor, prompt: Tensor, pooled: Tensor, size: Tensor
    ) -> Tensor:
        added = {"text_embeds": pooled, "time_ids": size}
        noise = self._unet(x.to(self.dtype), t, prompt, added_cond_kwargs=added, return_dict=False)
        return cast(Tensor, noise[0]).to(x.dtype)

    def _find_time(self, sigma: Tensor) -> Tensor:
        """On the training schedule, between the times of the nearest sigmas."""
        table, wanted = self._log_sigmas, sigma.log()
        above = torch.searchsorted(table, wanted).clamp(1, NUM_TRAINED - 1)
        low, high = table[above - 1], table[above]
        return above - 1 + ((wanted - low) / (high - low)).clamp(0, 1)


class UNetCrowd:
    """Rows of one UNet: prompts by number, alike above some sigma."""

    def __init__(self, model: UNetModel) -> None:
        self.model = model
        self._tell = cache(self._draw)
        self._highest, self._lowest = (
            float(model._log_sigmas[end].exp()) for end in (NUM_TRAINED - 1, 0)
        )

    def ask(
        self, product: int, shopper: int, seed: int, num_steps: int, max_reuse_error: float = 0.0
    ) -> RowRequest:
        """Prompt 0 is nothing, 1 is what all share; a pair of numbers has a prompt of its own."""
        plan = plan_euler(karras_sigmas(num_steps, self._lowest, self._highest))
        own = 2 + product * 100_000 + shopper
        walk, digest = [], hashlib.blake2b(struct.pack("<2Q", seed, num_steps), digest_size=16)
        for stop, prompt in ((round(SHARED * num_steps), 1), (num_steps, own)):
            digest.update(struct.pack("<2Q", stop, prompt))
            terms = Term(self._tell(0), 1 - SCALE), Term(self._tell(prompt), SCALE)
            walk.append(Segment(stop, terms, digest.digest()))
        return RowRequest(self.model.name, seed, plan, tuple(walk), None, max_reuse_error)

    def _draw(self, prompt: int) -> Conditions:
        architecture, device = self.model.architecture, self.model.device
        generator = torch.Generator().manual_seed(prompt)
        shapes = {
            "prompt": (1, architecture.num_tokens, architecture.prompt_width),
            "pooled": (1, architecture.pooled_width),
        }
        cond = {
            name: torch.randn(shape, generator=generator).to(device, self.model.dtype)
            for name, shape in shapes.items()
        }
        side = 8.0 * architecture.latent_side
        size = np.array([[side, side, 0, 0, side, side]], np.float32)
        return {**cond, "size": torch.from_numpy(size).to(device, self.model.dtype)}
