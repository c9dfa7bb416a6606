"""Kandinsky 2.2, an unCLIP: what a picture shows is told by a CLIP image embedding alone.

A packshot has such an embedding, a prompt gets one from the prior, and a shopper's vector is one.
They meet as points on a sphere, half of the way from product to prompt (Ramesh et al., 2022,
section 3.2, blends pictures like this). The prior is expected in the decoder's folder, as `prior`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers import KandinskyV22PriorPipeline
from torch import Tensor, nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.denoiser import Conditions, NoiseDenoiser, per_row
from diffusion.families.family import Family, Prompt
from diffusion.families.folder import check_folder, find_folder
from diffusion.families.schedules import DiscreteSchedule
from diffusion.families.specification import ModelSpecification, Size
from diffusion.fusion import Vector

PROMPT_SHARE = 0.5
"""Of the way from the product's embedding to the prompt's; without a prompt, none of it."""

PRIOR_SEED = 0
"""One text is always one embedding."""

PARALLEL = 1e-4
"""Sine of the angle below which the way between two points is as good as straight."""


class Kandinsky22(Family):
    """Negative rows see the embedding of a black picture, or that of the negative prompt.

    The clipping of predictions in a DDPM scheduler's configuration is not done by our samplers.
    """

    pipelines = ("KandinskyV22Pipeline",)
    default_size = (768, 768)
    is_unclip = True

    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        self.pipe, self.unet, self.movq = pipe, pipe.unet, pipe.movq
        self.dtype: torch.dtype = pipe.unet.dtype
        self.schedule = DiscreteSchedule(pipe.scheduler.config, specification.schedule)
        self._denoiser = NoiseDenoiser(self._predict, self.schedule.time)
        if self.schedule.prediction != "epsilon":
            raise CheckpointUnusable(
                f"source: scheduler/scheduler_config.json: prediction_type is "
                f"{self.schedule.prediction}, and can be epsilon"
            )
        self.prior = open_prior(specification, pipe.unet)
        self.image_width = self.prior.image_encoder.config.projection_dim

    @property
    def network(self) -> nn.Module:
        return cast(nn.Module, self.unet)

    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        """The stock pipeline rounds sides up to these multiples."""
        factor = self.pipe.movq_scale_factor
        width, height = size
        if any(side < 1 or side % factor**2 for side in size):
            raise ValueError(f"{width} x {height}: sides must be multiples of {factor**2}")
        return self.unet.config.in_channels, height // factor, width // factor

    def encode_prompt(self, text: str) -> Prompt:
        """The embedding of a picture that could have this text, as the prior imagines it."""
        if not text.strip():
            return self._prompt(self.prior.get_zero_embed(), 0.0, 0)
        tokenizer = self.prior.tokenizer
        num_lost = len(tokenizer(text, verbose=False).input_ids) - tokenizer.model_max_length
        generator = torch.Generator().manual_seed(PRIOR_SEED)
        imagined = self.prior(text, generator=generator).image_embeds
        return self._prompt(imagined, PROMPT_SHARE, max(num_lost, 0))

    def _prompt(self, embedding: Tensor, share: float, num_lost: int) -> Prompt:
        embedding = embedding.float()
        told = {"prompt_embeds": embedding, "prompt_share": embedding.new_tensor([share])}
        return Prompt(told, num_lost)

    def encode_packshot(self, pixels: Tensor) -> Conditions:
        codes = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        seen = self.prior.image_processor(
            list(codes.permute(0, 2, 3, 1).cpu().numpy()),
            input_data_format="channels_last",
            return_tensors="pt",
        )
        encoder = self.prior.image_encoder
        embedding = encoder(seen.pixel_values.to(encoder.device, encoder.dtype)).image_embeds
        return {"image_embeds": embedding.float()}

    def unask(self, conditions: Conditions) -> Conditions:
        return {**conditions, "image_embeds": conditions["prompt_embeds"]}

    def blend(self, conditions: Conditions, shopper: Vector, share: float) -> Conditions:
        """The embedding keeps the product's length: a feature store has directions only."""
        product = conditions["image_embeds"]
        if shopper.shape != product.shape[1:]:
            raise ValueError(
                f"the shopper's vector has shape {shopper.shape}, and this model's image "
                f"embeddings have {product.shape[1]} numbers"
            )
        vector = torch.from_numpy(shopper)[None].to(product)
        length = vector.norm(dim=1, keepdim=True)
        wanted = vector / length.clamp(min=1e-12) * product.norm(dim=1, keepdim=True)
        blended = slerp(product, wanted, product.new_full((len(product),), share))
        return {"image_embeds": torch.where(length > 0, blended, product)}

    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        shown = slerp(cond["image_embeds"], cond["prompt_embeds"], cond["prompt_share"])
        return self._denoiser(x, sigma, {"image_embeds": shown})

    def _predict(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The noise [rows, C, h, w]; the UNet's other channels are a variance."""
        predicted: Tensor = self.unet(
            x.to(self.dtype),
            t,
            encoder_hidden_states=None,
            added_cond_kwargs={"image_embeds": cond["image_embeds"].to(self.dtype)},
            return_dict=False,
        )[0]
        return predicted[:, : x.shape[1]].to(x.dtype)

    def encode_image(self, pixels: Tensor) -> Tensor:
        latents: Tensor = self.movq.encode(pixels.to(self.movq.dtype)).latents
        return latents.float()

    def decode(self, latents: Tensor) -> Tensor:
        latents = latents.to(self.movq.dtype)
        return cast(Tensor, self.movq.decode(latents, force_not_quantize=True).sample)

    def describe(self) -> Mapping[str, str]:
        width = self.unet.config.encoder_hid_dim
        told = {
            "product": "its image embedding, half of the way to the prompt's",
            "shopper": f"a blend with the product's image embedding, {width} numbers",
        }
        config = self.pipe.scheduler.config
        if config.get("thresholding") or config.get("clip_sample"):
            told["sampling"] = "without the clipping that the checkpoint's scheduler does"
        return told


def open_prior(specification: ModelSpecification, unet: Any) -> Any:
    """For this UNet, from the decoder's folder. Raises CheckpointUnusable."""
    source = find_folder(specification.find(specification.source), specification.revision)
    folder = source / "prior"
    if not folder.is_dir():
        raise CheckpointUnusable(
            f"source: {folder} is missing: save a KandinskyV22PriorPipeline there"
        )
    check_folder(folder, ("KandinskyV22PriorPipeline",), specification.family)
    prior = KandinskyV22PriorPipeline.from_pretrained(
        folder, dtype=unet.dtype, use_safetensors=True, local_files_only=True
    )
    wanted = unet.config.encoder_hid_dim
    for file, field, width in (
        ("prior", "embedding_dim", prior.prior.config.embedding_dim),
        ("image_encoder", "projection_dim", prior.image_encoder.config.projection_dim),
    ):
        if width != wanted:
            raise CheckpointUnusable(
                f"source: {folder / file / 'config.json'}: {field} is {width}, but the UNet takes "
                f"image embeddings of {wanted}"
            )
    prior.set_progress_bar_config(disable=True)
    return prior.to(unet.device)


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Points [rows, w], `share` [rows] of the way along the arc between them (Shoemake, 1985).

    Lengths change evenly on the way. A share of 0 is `start` and of 1 is `end`, to the last bit.
    """
    share = per_row(share, start)
    from_length, to_length = (point.norm(dim=1, keepdim=True) for point in (start, end))
    length = torch.lerp(from_length, to_length, share)
    from_length, to_length = from_length.clamp(min=1e-12), to_length.clamp(min=1e-12)
    cosine = (start / from_length * (end / to_length)).sum(dim=1, keepdim=True)
    angle = cosine.clamp(-1, 1).acos()
    is_flat = angle.sin() < PARALLEL
    sine = torch.where(is_flat, 1.0, angle.sin())
    first = torch.where(is_flat, 1 - share, ((1 - share) * angle).sin() / sine)
    second = torch.where(is_flat, share, (share * angle).sin() / sine)
    between: Tensor = first * (length / from_length) * start + second * (length / to_length) * end
    return between
