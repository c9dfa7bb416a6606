"""Stable Diffusion XL in full size with random weights, offline: `python -m benchmarks.gpu --model
sdxl`, beside the stock diffusers pipeline at its best batch in the same run.

1024 px, 20 steps of Euler, guidance 8, the autoencoder included: 40 forward rows of the UNet an
image. Prompts are read beforehand on both sides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor

from benchmarks.engine_runs import ask_engine, measure_saturated, running_engine
from benchmarks.engine_unet import Architecture
from benchmarks.measurement import Report
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.specification import ModelSpecification
from diffusion.families.unet import StableDiffusionXL
from diffusion.image_model import ProductFacts, Wish
from diffusion.noise import draw_noise
from server.sampling.engine import EngineLimits
from server.sampling.row import RowRequest
from tests.diffusion.families.tiny_clip import tiny_clip_text, tiny_clip_tokenizer

GUIDANCE = 8.0
PROMPT = "a product photograph"
TOLD = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)
TARGET = 1.5
PUBLISHED = 2.15
"""Images/s of one H200 in MLPerf Inference v4.1, closed division, with TensorRT."""


@dataclass(frozen=True, slots=True)
class Size:
    num_steps: int
    batches: tuple[int, ...]
    """Images of one call of the stock pipeline."""
    rounds: int


FULL = Size(20, (1, 2, 4, 8, 16), 3)
QUICK = Size(4, (1, 4), 1)


def build_pipeline(
    architecture: Architecture, device: str, dtype: torch.dtype
) -> StableDiffusionXLPipeline:
    """The stock pipeline. Text encoders have the width of the published ones and two layers."""
    torch.manual_seed(0)
    with torch.device(device):
        unet = UNet2DConditionModel(in_channels=4, out_channels=4, **architecture.unet)
        vae = AutoencoderKL(latent_channels=4, scaling_factor=0.13025, **architecture.decoder)
    pooled, width = architecture.pooled_width, architecture.prompt_width
    second = pooled if pooled < width else width // 2
    pipe = StableDiffusionXLPipeline(
        vae=vae.eval(),
        text_encoder=tiny_clip_text(width - second),
        text_encoder_2=tiny_clip_text(second, projection=pooled),
        tokenizer=tiny_clip_tokenizer(),
        tokenizer_2=tiny_clip_tokenizer(),
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
        ),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device, dtype)


class Stock:
    """Batches of one prompt by the stock pipeline."""

    def __init__(self, pipe: Any, side: int, num_steps: int) -> None:
        self._pipe, self._side, self._num_steps = pipe, side, num_steps
        told: tuple[Tensor, ...] = pipe.encode_prompt(PROMPT, negative_prompt="")
        self._told = dict(zip(TOLD, told, strict=True))

    def draw(self, num_images: int) -> None:
        side = self._side // self._pipe.vae_scale_factor
        noise = torch.stack([draw_noise(number, (4, side, side)) for number in range(num_images)])
        self._pipe(
            **{name: one.repeat_interleave(num_images, 0) for name, one in self._told.items()},
            latents=noise.to(self._pipe.device, self._pipe.dtype),
            width=self._side,
            height=self._side,
            num_inference_steps=self._num_steps,
            guidance_scale=GUIDANCE,
            output_type="np",
        )

    def measure(self, num_images: int, rounds: int) -> list[float]:
        """Images/s of one batch size."""
        rates = []
        for turn in range(rounds + 1):
            started_s = time.perf_counter()
            self.draw(num_images)
            if turn:
                rates.append(num_images / (time.perf_counter() - started_s))
        return rates


def open_model(pipe: Any, side: int, num_steps: int) -> PretrainedDiffusion:
    specification = ModelSpecification.model_validate(
        {
            "name": "sdxl",
            "family": "sdxl",
            "source": "random",
            "licence": "none",
            "steps": num_steps,
            "guidance": GUIDANCE,
            "sizes": ((side, side),),
            "prompt": PROMPT,
            "product": {"preserve": (), "restyle": ()},
        }
    )
    return PretrainedDiffusion(StableDiffusionXL(pipe, specification), specification, "0" * 16)


class Rows:
    """What the engine is asked for, image by image."""

    def __init__(self, model: PretrainedDiffusion) -> None:
        square = np.full((64, 64, 4), 255, np.uint8)
        nothing = np.zeros(1, np.float32)
        self._model = model
        self._product = model.prepare(ProductFacts(square, "", nothing, nothing))

    def make(self, number: int) -> RowRequest:
        route = self._model.plan(self._product, None, Wish("preserve"), seed=number)
        return RowRequest.along(route, self._model.name, number)


async def measure_ours(model: PretrainedDiffusion, batch: int, rounds: int) -> list[float]:
    """Images/s at saturation, in forwards of as many rows as the stock pipeline's best."""
    rows = Rows(model)
    buckets = tuple(dict.fromkeys((4, 2 * max(batch, 2))))
    limits = EngineLimits(buckets=buckets, is_sharing=False, brisk_s=60.0)
    with running_engine([model], [rows.make(0)], limits) as engine:
        ask = ask_engine(engine, rows.make)
        return [await measure_saturated(ask, 2 * batch, batch, 2 * batch) for _ in range(rounds)]


async def measure(
    report: Report, size: Size, device: str, dtype: torch.dtype, architecture: Architecture
) -> None:
    """Both as they are, then both compiled."""
    pipe = build_pipeline(architecture, device, dtype)
    side = architecture.latent_side * pipe.vae_scale_factor
    stock, model = Stock(pipe, side, size.num_steps), open_model(pipe, side, size.num_steps)
    for name in ("", "compiled_"):
        if name:
            pipe.unet.compile(dynamic=False)
        rates = {}
        for batch in size.batches:
            try:
                rates[batch] = stock.measure(batch, size.rounds)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                break
        best = max(rates, key=lambda batch: median(rates[batch]))
        report.environment[f"{name}best_batch"] = best
        report.add(f"sdxl.{name}stock_images_per_s", rates[best], "images/s")
        own = await measure_ours(model, best, size.rounds)
        report.add(f"sdxl.{name}images_per_s", own, "images/s", target=None if name else PUBLISHED)
        ratios = [rate / median(rates[best]) for rate in own]
        report.add(f"sdxl.{name}over_stock", ratios, "x", target=TARGET)
