"""Stable Diffusion 3 and 3.5: a rectified flow in a joint transformer of picture and text.

Skip-layer guidance is not done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.adapter_file import digest_file, read_shapes
from diffusion.families.adapters.joint_attention import (
    check_keys,
    find_adapter,
    load_adapter,
    to_tokens,
    weigh_rows,
)
from diffusion.families.family import Prompt
from diffusion.families.flow import FlowTransformer
from diffusion.families.schedules import FlowSchedule
from diffusion.families.specification import AdapterShopper, ModelSpecification, Size


class StableDiffusion3(FlowTransformer):
    """The prompt is read by two CLIPs and, where the folder has it, by T5.

    Published adapters look at the hidden states of an image encoder, one vector for each patch of
    the picture. The shopper's vector stands for a sequence of one: it should lie where those hidden
    states do, as their mean over the patches of the clicked pictures does.
    """

    pipelines = ("StableDiffusion3Pipeline",)
    most_prompt_tokens = 512

    def __init__(self, pipe: Any, specification: ModelSpecification) -> None:
        super().__init__(pipe, specification)
        scheduler = pipe.scheduler.config
        self.schedule = FlowSchedule(
            scheduler, is_spaced=False, scale=float(scheduler.num_train_timesteps)
        )
        if isinstance(specification.shopper, AdapterShopper):
            self._load_shopper(specification.shopper, specification)

    def _load_shopper(self, told: AdapterShopper, specification: ModelSpecification) -> None:
        path, network = find_adapter(told, specification), self.pipe.transformer
        shapes = read_shapes(path)
        if "image_proj.proj_in.weight" not in shapes:
            raise CheckpointUnusable(
                f"shopper.weights: {path} is no adapter for sd3: it has no image_proj.proj_in"
            )
        width, places = network.inner_dim, len(network.attn_processors)
        check_keys(path, shapes, ".to_k_ip.weight", (width, width), places)
        load_adapter(self.pipe, path, image_encoder_folder=None)
        weigh_rows(network, told)
        self.shopper_width = shapes["image_proj.proj_in.weight"][1]
        self.adapters_digest = digest_file(path)

    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        config = self.pipe.transformer.config
        unit = config.patch_size * self.pipe.vae_scale_factor
        most = config.pos_embed_max_size * unit
        if any(side % unit or not 0 < side <= most for side in size):
            raise ValueError(
                f"{size[0]} x {size[1]}: sides must be multiples of {unit}, at most {most}"
            )
        factor = self.pipe.vae_scale_factor
        return config.in_channels, size[1] // factor, size[0] // factor

    def encode_prompt(self, text: str) -> Prompt:
        embeds, _, pooled, _ = self.pipe.encode_prompt(
            text,
            None,
            None,
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_tokens,
        )
        tokenizer, room = self.pipe.tokenizer_3, self.max_tokens
        if self.pipe.text_encoder_3 is None:
            tokenizer, room = self.pipe.tokenizer, self.pipe.tokenizer_max_length
        num_lost = max(len(tokenizer(text).input_ids) - room, 0)
        return Prompt({"prompt": embeds, "pooled": pooled}, num_lost)

    def _predict(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        shown: dict[str, Tensor] = {}
        if self.shopper_width is not None:
            shown["ip_adapter_image_embeds"] = cond["shopper"][:, None].to(self.dtype)
            shown["ip_adapter_masks"] = to_tokens(cond["strength"]).to(self.dtype)
        velocity: Tensor = self.pipe.transformer(
            hidden_states=x_t.to(self.dtype),
            timestep=self.schedule.scale * t,
            encoder_hidden_states=cond["prompt"],
            pooled_projections=cond["pooled"],
            joint_attention_kwargs=shown,
            return_dict=False,
        )[0]
        return velocity.float()

    def describe(self) -> Mapping[str, str]:
        if self.shopper_width is None:
            return {}
        return {
            "shopper": f"image-prompt attention in every block, vectors of {self.shopper_width}"
        }
