"""The baseline to beat: the reference network of the field's tutorials, a conditional GAN.

The pooled vectors of the ViT and the GPT-2 are concatenated with the shopper's and some noise and
grown into a picture by transposed convolutions: one step, behind the interface of `model`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.checkpoint import CheckpointUnusable, digest_folder
from diffusion.denoiser import Conditions, per_row
from diffusion.embedded import EmbeddedModel
from diffusion.encoders import Encoders
from diffusion.fusion import ProductCondition, Vector
from diffusion.image_model import Preset
from diffusion.model import Pixels, load_network
from diffusion.transformer import TASKS
from diffusion.walks import Rules

NAME = "conditional-gan"
FACTS = ("product", "title", "shopper", "task", "has_product", "has_shopper")
NUM_GROUPS = 8


def concatenate(
    product: Tensor,
    title: Tensor,
    shopper: Tensor,
    task: Tensor,
    has_product: Tensor,
    has_shopper: Tensor,
) -> Tensor:
    """All that a row may know, [rows, 3 · embedding_width + tasks]; zeros for what it may not.

    product, title, shopper [rows, embedding_width]; task [rows]; has_* [rows] bool.
    """
    known = [(product, has_product), (title, has_product), (shopper, has_shopper)]
    # Chosen and not multiplied: what takes no part may be anything, NaN as well.
    vectors = [torch.where(flag[:, None], v, torch.zeros_like(v)) for v, flag in known]
    return torch.cat([*vectors, F.one_hot(task, len(TASKS)).to(product.dtype)], dim=1)


def condition_width(embedding_width: int) -> int:
    return 3 * embedding_width + len(TASKS)


class GanGenerator(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Concatenation → linear → transposed convolutions (Radford et al., DCGAN, 2016).

    Norms are over groups of channels, not over the batch: what a row becomes is its own affair,
    in training as later. The side starts at 4 px and doubles after each of `channels`.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        embedding_width: int = 128,
        noise_width: int = 16,
        width: int = 256,
        channels: tuple[int, ...] = (384, 256, 192, 128, 64),
    ) -> None:
        super().__init__()
        self.noise_width = noise_width
        self.side = 4 * 2 ** len(channels)
        # Vectors of unit length become as large as the noise, number by number.
        self.gain = embedding_width**0.5
        self.join = nn.Linear(condition_width(embedding_width) + noise_width, width)
        self.start = nn.Linear(width, channels[0] * 4 * 4)
        self.grow = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1),
                    nn.GroupNorm(NUM_GROUPS, fine),
                    nn.ReLU(inplace=True),
                )
                for coarse, fine in zip(channels, channels[1:], strict=False)
            )
        )
        self.paint = nn.ConvTranspose2d(channels[-1], 3, 4, stride=2, padding=1)

    def forward(
        self,
        z: Tensor,
        product: Tensor,
        title: Tensor,
        shopper: Tensor,
        task: Tensor,
        has_product: Tensor,
        has_shopper: Tensor,
    ) -> Tensor:
        """Noise z [rows, noise_width] and the facts of `concatenate` → [rows, 3, S, S] in [-1, 1].

        Only the direction of z counts (Karras et al., 2018), so that its scale is never a surprise.
        """
        told = concatenate(product, title, shopper, task, has_product, has_shopper)
        z = F.normalize(z, dim=1) * self.noise_width**0.5
        joined = torch.cat([self.gain * told, z], dim=1).to(self.join.weight.dtype)
        h = F.relu(self.start(F.relu(self.join(joined)))).reshape(len(joined), -1, 4, 4)
        h = self.grow(h.contiguous(memory_format=torch.channels_last))
        return torch.tanh(self.paint(h)).to(z.dtype)


class ConditionalGan(EmbeddedModel):
    """What the sampling engine needs of a model family: `diffusion.model.ProductDiffusion`'s twin.

    Its latents are pixels, [rows, 3, 128, 128], and its one step answers with the picture itself.
    The packshot goes unseen: this network knows the product by its pooled vectors only.
    """

    def __init__(self, network: GanGenerator, encoders: Encoders, name: str, digest: str) -> None:
        self.network = network.eval().requires_grad_(False).to(encoders.device)
        self.encoders, self.name, self.digest = encoders, name, digest
        self.rules, self.preset = Rules(), Preset()
        self.pixel_side: int = network.side
        self.latent_shape: tuple[int, ...] = (3, network.side, network.side)
        self.sizes: Sequence[tuple[int, int]] = ((network.side, network.side),)
        self.embedding_width = encoders.width

    @classmethod
    def load(
        cls, folder: Path, encoders: Encoders, dtype: torch.dtype = torch.float32
    ) -> ConditionalGan:
        """Raises CheckpointUnusable."""
        try:
            network = load_network(GanGenerator, folder, dtype)
            digest = digest_folder(folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointUnusable(f"{folder} is no checkpoint of this model: {error}") from error
        width = network.config.embedding_width
        if width != encoders.width:
            raise CheckpointUnusable(
                f"{folder} is no checkpoint of this model: it takes embeddings of {width} numbers, "
                f"the encoders give {encoders.width}"
            )
        return cls(network, encoders, NAME, digest)

    def save(self, folder: Path) -> None:
        """Configuration and bfloat16 weights in diffusers' layout."""
        copy.deepcopy(self.network).bfloat16().save_pretrained(folder)

    @property
    def device(self) -> torch.device:
        return self.encoders.device

    def sigmas(self, num_steps: int, name: str | None = None) -> list[float]:
        """One step, however many are asked for: a plan of it ends in the prediction exactly."""
        return [1.0, 0.0]

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        z = (x / per_row(sigma, x)).flatten(1)[:, : self.network.noise_width]
        return cast(Tensor, self.network(z, **{fact: cond[fact] for fact in FACTS}))

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Pixels:
        """[rows, 3, S, S] → uint8 [rows, S, S, 3]."""
        coded = ((latents + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return cast(Pixels, coded.permute(0, 2, 3, 1).cpu().numpy())

    def prepare_product(
        self, packshot: Pixels, image_embedding: Vector, title_embedding: Vector
    ) -> ProductCondition:
        """A product's two vectors; in the packshot's place stands a single zero."""
        nothing = torch.zeros(1, 1, 1, 1, device=self.device)
        return ProductCondition(nothing, image_embedding, title_embedding)
