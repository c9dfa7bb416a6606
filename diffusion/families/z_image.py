"""Z-Image and Z-Image-Turbo."""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers import ZImageTransformer2DModel
from diffusers.models.transformers.transformer_z_image import SEQ_MULTI_OF
from torch import Tensor
from torch.nn import functional as F

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.family import Prompt
from diffusion.families.flow import FlowTransformer
from diffusion.families.specification import ModelSpecification

MULTIPLE: int = SEQ_MULTI_OF
"""The stock transformer fills prompts and pictures up to whole multiples of so many places."""

PATCH = "2-1"
"""The stock transformer's name for patches of 2 x 2 latents in 1 frame."""


class ZImageRows(ZImageTransformer2DModel):  # type: ignore[misc]
    """The stock transformer on tensors [rows, ...] in the place of lists.

    Every prompt has the same padded length, so that its own is never read back from the device,
    and each of its places has a weight in attention: between 0 and 1 it is on its way in.
    """

    @classmethod
    def from_stock(cls, transformer: Any) -> ZImageRows:
        """The same weights, not a copy of them."""
        with torch.device("meta"):
            network = cls.from_config(transformer.config)
        network.load_state_dict(transformer.state_dict(), assign=True)
        return cast(ZImageRows, network.eval())

    def forward(
        self, x: Tensor, t: Tensor, prompt: Tensor, has_token: Tensor, prompt_weight: Tensor
    ) -> Tensor:
        """x [rows, C, h, w], t [rows] from 0, noise, to 1; prompt [rows, places, width]; has_token
        and prompt_weight [rows, places] → [rows, C, h, w]."""
        time = self.t_embedder(t * self.t_scale).type_as(x)
        at_picture, at_prompt = self.locate(x, prompt_weight)
        picture = self.all_x_embedder[PATCH](split(x))
        num_patches = picture.shape[1]
        fill = self.x_pad_token.expand(len(x), at_picture.shape[1] - num_patches, -1)
        picture = torch.cat([picture, fill], dim=1)
        for block in self.noise_refiner:
            picture = block(picture, None, at_picture, time)
        words = self.cap_embedder(prompt)
        words = torch.lerp(self.cap_pad_token, words, has_token[..., None].to(words.dtype))
        bias = prompt_weight.log().to(x.dtype)
        for block in self.context_refiner:
            words = block(words, bias, at_prompt)
        joint = torch.cat([picture, words], dim=1)
        bias = F.pad(bias, (picture.shape[1], 0))
        rotation = torch.cat([at_picture, at_prompt], dim=1)
        for block in self.layers:
            joint = block(joint, bias, rotation, time)
        return merge(self.all_final_layer[PATCH](joint[:, :num_patches], c=time), x)

    def locate(self, x: Tensor, prompt_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations of the picture's places, filled up, and of the prompt's."""
        size = (1, x.shape[2] // 2, x.shape[3] // 2)
        grid = self.create_coordinate_grid(size, device=x.device).flatten(0, 2)
        behind_prompt = prompt_weight.float().sum(dim=1) + 1
        picture = grid + F.pad(behind_prompt[:, None, None], (0, 2))
        picture = F.pad(picture, (0, 0, 0, -len(grid) % MULTIPLE))
        prompt = torch.arange(1, prompt_weight.shape[1] + 1, device=x.device)
        prompt = F.pad(prompt[:, None], (0, 2)).expand(len(x), -1, -1)
        return self.rotate(picture), self.rotate(prompt)

    def rotate(self, places: Tensor) -> Tensor:
        """[rows, n, axes] → complex [rows, n, width of a head / 2]: the stock table, and what lies
        between its entries."""
        angles = []
        for axis, width in enumerate(self.axes_dims):
            steps = torch.arange(0, width, 2, dtype=torch.float64, device=places.device)
            angles.append(places[..., axis, None] / self.rope_theta ** (steps / width))
        angle = torch.cat(angles, dim=-1).float()
        return torch.polar(torch.ones_like(angle), angle)


def split(x: Tensor) -> Tensor:
    """[rows, C, h, w] → patches [rows, h / 2 · w / 2, 2 · 2 · C]."""
    rows, channels, height, width = x.shape
    patches = x.reshape(rows, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def merge(patches: Tensor, like: Tensor) -> Tensor:
    """The way back, to the shape of `like`."""
    rows, channels, height, width = like.shape
    x = patches.reshape(rows, height // 2, width // 2, 2, 2, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(like.shape)


class ZImage(FlowTransformer):
    """`guidance` counts from the negative prompt, and is 1 + the stock pipeline's guidance_scale,
    which counts from the prompt: 1 is Z-Image-Turbo's 0.0, and 5 is Z-Image's 4.0.
    """

    pipelines = ("ZImagePipeline",)

    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        wanted, given = pipe.transformer.config.cap_feat_dim, pipe.text_encoder.config.hidden_size
        if wanted != given:
            raise CheckpointUnusable(
                f"source: {specification.source}: transformer/config.json has cap_feat_dim "
                f"{wanted}, but text_encoder/config.json has hidden_size {given}"
            )
        pipe.transformer = ZImageRows.from_stock(pipe.transformer)
        super().__init__(pipe, specification)

    @property
    def num_channels(self) -> int:
        return cast(int, self.pipe.transformer.in_channels)

    def encode_prompt(self, text: str) -> Prompt:
        """Filled up as the stock pipeline does, and then, with weight 0, to one length for all."""
        found, _ = self.pipe.encode_prompt(
            text, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens
        )
        tokens: Tensor = found[0]
        places = torch.arange(fill_up(self.max_tokens), device=tokens.device)[None]
        conditions = {
            "prompt": F.pad(tokens, (0, 0, 0, places.shape[1] - len(tokens)))[None],
            "has_token": (places < len(tokens)).float(),
            "prompt_weight": (places < fill_up(len(tokens))).float(),
        }
        return Prompt(conditions, max(0, self._count_tokens(text) - self.max_tokens))

    def _predict(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The transformer's time runs the other way, and so does its velocity."""
        velocity: Tensor = self.pipe.transformer(
            x_t.to(self.dtype),
            1 - t,
            cond["prompt"].to(self.dtype),
            cond["has_token"],
            cond["prompt_weight"],
        )
        return -velocity.float()

    def _count_tokens(self, text: str) -> int:
        tokenizer = self.pipe.tokenizer
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=True,
        )
        return len(tokenizer(chat).input_ids)


def fill_up(count: int) -> int:
    return -(-count // MULTIPLE) * MULTIPLE
