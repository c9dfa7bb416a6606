"""Qwen-Image."""

from __future__ import annotations

import threading
from typing import Any, cast

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenDoubleStreamAttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.checkpoint import CheckpointUnusable
from diffusion.denoiser import per_row
from diffusion.families.family import Prompt
from diffusion.families.flow import FlowTransformer
from diffusion.families.specification import ModelSpecification

TINIEST = 1e-12
"""Below any length of a prediction; keeps 0 / 0 out."""


class WeighedPromptAttention(QwenDoubleStreamAttnProcessor2_0):  # type: ignore[misc]
    """The stock attention, with a weight for each token of the prompt: `prompt_bias` [rows, places]
    is its logarithm, minus infinity for a token that is not there."""

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        prompt_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        # The stock processor puts ones for the picture's places beside the mask. In a sum they
        # count as 1, so the prompt's places are given 1 as well: attention sees differences only.
        if prompt_bias is not None:
            encoder_hidden_states_mask = prompt_bias + 1
        attended: tuple[Tensor, Tensor] = super().__call__(
            attn,
            hidden_states,
            encoder_hidden_states,
            encoder_hidden_states_mask,
            attention_mask,
            image_rotary_emb,
        )
        return attended


class QwenImage(FlowTransformer):
    """`guidance` is the stock pipeline's true_cfg_scale.

    The reference latents of QwenImageEditPipeline are not taken: its text encoder is shown the
    product together with the prompt, and here prompts are read by themselves.
    """

    pipelines = ("QwenImagePipeline",)

    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        told, text = pipe.transformer.config, pipe.text_encoder.config.get_text_config()
        if told.joint_attention_dim != text.hidden_size:
            raise CheckpointUnusable(
                f"source: {specification.source}: transformer/config.json has joint_attention_dim "
                f"{told.joint_attention_dim}, but text_encoder/config.json has hidden_size "
                f"{text.hidden_size}"
            )
        pipe.transformer.set_attn_processor(WeighedPromptAttention())
        super().__init__(pipe, specification)
        self._vae_lock = threading.Lock()
        config = pipe.vae.config
        shape = (1, -1, 1, 1)
        self._mean = torch.tensor(config.latents_mean, device=pipe.vae.device).reshape(shape)
        self._std = torch.tensor(config.latents_std, device=pipe.vae.device).reshape(shape)

    @property
    def num_channels(self) -> int:
        return cast(int, self.pipe.vae.config.z_dim)

    def encode_prompt(self, text: str) -> Prompt:
        """Padded, with weight 0, to one length for all."""
        tokens, _ = self.pipe.encode_prompt(text, max_sequence_length=self.max_tokens)
        places = torch.arange(self.max_tokens, device=tokens.device)[None]
        conditions = {
            "prompt": F.pad(tokens, (0, 0, 0, self.max_tokens - tokens.shape[1])),
            "prompt_weight": (places < tokens.shape[1]).float(),
        }
        return Prompt(conditions, max(0, self._count_tokens(text) - self.max_tokens))

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor:
        """The stock pipeline gives a guided velocity, at every place of the transformer, the length
        that the prompt's own has there.

        A velocity is (x_t - D) / t, and t falls out of the ratio of two lengths.
        """
        denoised = super().combine(predicted, weight, owner, x, sigma)
        terms = torch.arange(len(owner), device=x.device)
        last = terms.new_zeros(len(x)).scatter_reduce(0, owner, terms, "amax")
        num_terms = terms.new_zeros(len(x)).index_add(0, owner, torch.ones_like(terms))
        x_t = x / per_row(1 + sigma[last], x)
        guided = x_t - denoised
        ratio = measure(x_t - predicted[last]) / measure(guided).clamp_min(TINIEST)
        return torch.where(per_row(num_terms, x) > 1, x_t - ratio * guided, denoised)

    def encode_image(self, pixels: Tensor) -> Tensor:
        vae = self.pipe.vae
        with self._vae_lock:  # it keeps state while it works
            latents: Tensor = vae.encode(pixels[:, :, None].to(vae.dtype)).latent_dist.mode()
        return (latents[:, :, 0].float() - self._mean) / self._std

    def decode(self, latents: Tensor) -> Tensor:
        vae = self.pipe.vae
        scaled = (latents * self._std + self._mean)[:, :, None]
        with self._vae_lock:
            pixels: Tensor = vae.decode(scaled.to(vae.dtype)).sample
        return pixels[:, :, 0]

    def _predict(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        pipe, factor = self.pipe, self.pipe.vae_scale_factor
        rows, _, height, width = x_t.shape
        velocity = pipe.transformer(
            hidden_states=pipe._pack_latents(x_t.to(self.dtype), *x_t.shape),
            timestep=t,
            encoder_hidden_states=cond["prompt"].to(self.dtype),
            img_shapes=[[(1, height // 2, width // 2)]] * rows,
            attention_kwargs={"prompt_bias": cond["prompt_weight"].log().to(self.dtype)},
            return_dict=False,
        )[0].float()
        size = height * factor, width * factor
        return cast(Tensor, pipe._unpack_latents(velocity, *size, factor)[:, :, 0])

    def _count_tokens(self, text: str) -> int:
        """Without those of the template that are dropped."""
        pipe = self.pipe
        read = pipe.tokenizer(pipe.prompt_template_encode.format(text)).input_ids
        return len(read) - int(pipe.prompt_template_encode_start_idx)


def measure(latents: Tensor) -> Tensor:
    """Lengths over the channels of each 2 x 2 places, at each of the four [rows, 1, h, w]."""
    squares = F.avg_pool2d(latents.square().sum(dim=1, keepdim=True), 2)
    return F.interpolate(squares.sqrt(), scale_factor=2, mode="nearest")
