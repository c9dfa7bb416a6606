"""Stable Diffusion 1.5 and XL: UNets that predict the noise, the velocity or the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn

from diffusion.checkpoint import CheckpointUnusable, digest_folder
from diffusion.denoiser import (
    Conditions,
    Denoiser,
    Network,
    NoiseDenoiser,
    SampleDenoiser,
    VelocityDenoiser,
    per_row,
)
from diffusion.families.adapters.adapter_file import (
    check_adapter,
    digest_file,
    locate_adapter,
)
from diffusion.families.adapters.controlnet import find_controlnet, load_controlnet
from diffusion.families.adapters.ip_adapter import fits_masks, load_adapter
from diffusion.families.family import Family, Prompt
from diffusion.families.schedules import DiscreteSchedule
from diffusion.families.specification import AdapterShopper, ModelSpecification, Size

DENOISERS: Mapping[str, Callable[[Network, Callable[[Tensor], Tensor]], Denoiser]] = {
    "epsilon": NoiseDenoiser,
    "v_prediction": VelocityDenoiser,
    "sample": SampleDenoiser,
}
"""By the scheduler's prediction_type."""


class StableDiffusion(Family):
    """What its versions have in common."""

    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        self.pipe, self.unet, self.vae = pipe, pipe.unet, pipe.vae
        self.dtype: torch.dtype = pipe.unet.dtype
        self.schedule = DiscreteSchedule(pipe.scheduler.config, specification.schedule)
        if self.schedule.prediction not in DENOISERS:
            raise CheckpointUnusable(
                f"source: scheduler/scheduler_config.json: prediction_type is "
                f"{self.schedule.prediction}, and can be {', '.join(DENOISERS)}"
            )
        self._denoiser = DENOISERS[self.schedule.prediction](self._predict, self.schedule.time)
        self._read_input(specification)
        self._mean, self._deviation = self._read_spread()
        self._blanks: dict[Size, Tensor] = {}
        self._load_adapters(specification)

    def _read_input(self, specification: ModelSpecification) -> None:
        """What the UNet takes beside the latents."""
        channels, config = self.vae.config.latent_channels, self.unet.config
        masked = 2 * channels + 1
        if config.in_channels not in (channels, masked):
            raise CheckpointUnusable(
                f"source: unet/config.json: in_channels is {config.in_channels}, and can be "
                f"{channels}, or {masked} for inpainting"
            )
        self.is_inpainting = config.in_channels == masked
        self.has_embedded_guidance = config.time_cond_proj_dim is not None
        if self.has_embedded_guidance and specification.embedded_guidance is None:
            raise CheckpointUnusable("embedded_guidance must be set: this UNet is told of guidance")

    def _read_spread(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation [1, C, 1, 1] that bring the autoencoder's numbers to about 1."""
        config, channels = self.vae.config, self.vae.config.latent_channels
        mean = torch.tensor(config.get("latents_mean") or [0.0] * channels)
        deviation = torch.tensor(config.get("latents_std") or [1.0] * channels)
        told = torch.stack([mean, deviation / config.scaling_factor]).to(self.unet.device)
        first, second = told.reshape(2, 1, channels, 1, 1).unbind()
        return first, second

    def _load_adapters(self, specification: ModelSpecification) -> None:
        digests: list[str] = []
        if isinstance(told := specification.shopper, AdapterShopper):
            path = check_adapter(locate_adapter(told, specification))
            self.shopper_width = load_adapter(self.pipe, path, told.blocks)
            digests.append(digest_file(path))
        self.controlnet = None
        if (folder := find_controlnet(specification)) is not None:
            self.controlnet = load_controlnet(folder, self.pipe)
            self.has_controlnet = True
            digests.append(digest_folder(folder))
        self.adapters_digest = " ".join(digests)

    @property
    def network(self) -> nn.Module:
        unet: nn.Module = self.unet
        return unet

    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        """Each level of the UNet but the first halves the sides, and masks with them."""
        (width, height), factor = size, self.pipe.vae_scale_factor
        num_levels = len(self.unet.config.block_out_channels)
        multiple = factor * 2 ** (num_levels - 1)
        if width < 1 or height < 1 or width % multiple or height % multiple:
            raise ValueError(f"{width} x {height}: sides must be multiples of {multiple}")
        h, w = height // factor, width // factor
        if self.shopper_width is not None and not fits_masks(h, w, num_levels):
            raise ValueError(
                f"{width} x {height}: image-prompt attention can't be masked in this size; in one "
                f"that is {multiple} wider or higher it usually can"
            )
        return self.vae.config.latent_channels, h, w

    def encode_prompt(self, text: str) -> Prompt:
        prompt, *_ = self._encode(text)
        return Prompt({"prompt": prompt}, count_lost_tokens(text, self.pipe.tokenizer))

    def _encode(self, text: str) -> tuple[Tensor, ...]:
        told: tuple[Tensor, ...] = self.pipe.encode_prompt(
            prompt=text,
            device=self.unet.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        return told

    def describe_size(self, size: Size) -> Conditions:
        """A UNet for inpainting that is shown nothing of a picture is shown a blank one."""
        if not self.is_inpainting:
            return {}
        if size not in self._blanks:
            width, height = size
            grey = torch.zeros(1, 3, height, width, device=self.unet.device)
            self._blanks[size] = self.encode_image(grey)
        return {"blank": self._blanks[size]}

    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        return self._denoiser(x, sigma, cond)

    def _predict(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The UNet's own prediction; x [rows, C, h, w] of deviation 1, t [rows] in 0..999."""
        sample, prompt = x.to(self.dtype), cond["prompt"].to(self.dtype)
        added: dict[str, Any] = self._describe_rows(cond)
        told: dict[str, Any] = {}
        if self.controlnet is not None:
            down, middle = self.controlnet(
                sample,
                t,
                prompt,
                cond["control"].to(self.dtype),
                per_row(cond["control_scale"], sample),
                added_cond_kwargs=added,
                return_dict=False,
            )
            told["down_block_additional_residuals"] = down
            told["mid_block_additional_residual"] = middle
        if self.is_inpainting:
            sample = torch.cat([sample, *self._mask(cond)], dim=1)
        if self.shopper_width is not None:
            added = {**added, "image_embeds": [cond["shopper"][:, None].to(self.dtype)]}
            told["cross_attention_kwargs"] = {"ip_adapter_masks": [cond["strength"]]}
        if self.has_embedded_guidance:
            scale, width = cond["guidance"], self.unet.config.time_cond_proj_dim
            told["timestep_cond"] = get_timestep_embedding(1000 * (scale - 1), width).to(self.dtype)
        predicted: Tensor = self.unet(
            sample, t, prompt, added_cond_kwargs=added, return_dict=False, **told
        )[0]
        return predicted.to(x.dtype)

    def _mask(self, cond: Conditions) -> tuple[Tensor, Tensor]:
        """1 where to paint, and the picture without that, which is blank where nothing is kept."""
        keep = cond["keep"]
        has_product = keep.amax(dim=(1, 2, 3), keepdim=True) > 0
        shown = torch.where(has_product, cond["kept"], cond["blank"])
        return (1 - keep).to(self.dtype), shown.to(self.dtype)

    def _describe_rows(self, cond: Conditions) -> dict[str, Tensor]:
        """What the UNet is told beside prompt and time."""
        return {}

    def encode_image(self, pixels: Tensor) -> Tensor:
        latents: Tensor = self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode()
        return (latents.float() - self._mean) / self._deviation

    def decode(self, latents: Tensor) -> Tensor:
        latents = latents * self._deviation + self._mean
        pixels: Tensor = self.vae.decode(latents.to(self.vae.dtype), return_dict=False)[0]
        return pixels

    def describe(self) -> Mapping[str, str]:
        told = {"product": "latents that are put back where they are kept"}
        if self.is_inpainting:
            told["product"] += ", and with their mask an input of the UNet"
        if self.has_controlnet:
            told["edges"] = "a ControlNet, with a scale of each row"
        if self.shopper_width is not None:
            told["shopper"] = (
                f"image-prompt attention to a vector of {self.shopper_width} numbers, with a "
                "strength of each row and place"
            )
        return told


class StableDiffusion15(StableDiffusion):
    """Stable Diffusion 1 and 2, whose prompts are read by one CLIP."""

    pipelines = (
        "StableDiffusionPipeline",
        "StableDiffusionInpaintPipeline",
        "LatentConsistencyModelPipeline",
    )
    default_size = (512, 512)


class StableDiffusionXL(StableDiffusion):
    """Its prompts are read by two CLIPs, and it is told of a picture's size."""

    pipelines = ("StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline")

    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        if pipe.vae.dtype == torch.float16 and pipe.vae.config.force_upcast:
            pipe.vae.to(torch.float32)  # its numbers are too large for half of them
        super().__init__(pipe, specification)

    def encode_prompt(self, text: str) -> Prompt:
        prompt, _, pooled, _ = self._encode(text)
        if not text and self.pipe.config.force_zeros_for_empty_prompt:
            prompt, pooled = torch.zeros_like(prompt), torch.zeros_like(pooled)
        tokenizers = self.pipe.tokenizer, self.pipe.tokenizer_2
        num_lost = max(count_lost_tokens(text, tokenizer) for tokenizer in tokenizers)
        return Prompt({"prompt": prompt, "pooled": pooled}, num_lost)

    def describe_size(self, size: Size) -> Conditions:
        """Original size, corner of the crop, wanted size: as if trained on pictures just like it
        (Podell et al., 2023, section 2.2)."""
        width, height = size
        told = (height, width, 0, 0, height, width)
        ids = torch.tensor([told], dtype=torch.float32, device=self.unet.device)
        return {**super().describe_size(size), "time_ids": ids}

    def _describe_rows(self, cond: Conditions) -> dict[str, Tensor]:
        return {"text_embeds": cond["pooled"].to(self.dtype), "time_ids": cond["time_ids"]}


def count_lost_tokens(text: str, tokenizer: Any) -> int:
    ids = tokenizer(text, verbose=False).input_ids
    return max(len(ids) - int(tokenizer.model_max_length), 0)
