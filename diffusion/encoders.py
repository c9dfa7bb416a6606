"""Pictures and titles into one space: a ViT and a GPT-2, trained contrastively.

The default's two are small and our own. The image side sees what is shown and where it stands, so
that an average over clicked creatives says what their surroundings have in common: a taste.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Model, PreTrainedTokenizerFast, ViTModel

from diffusion.checkpoint import digest_folder

MAX_TOKENS = 16
SQUEEZED = 16  # of a patch
PROJECTIONS = "projections.safetensors"


class ImageTextNetwork(nn.Module, ABC):
    """Two networks with one space; `diffusion.pretrained` makes one of any two checkpoints."""

    mean: Tensor
    """[width]: of the population's creatives; what every picture has in common is not a taste."""

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Tensor:
        """[n, 3, H, W] in [-1, 1] → [n, width], unit length, not yet centred."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """n texts → [n, width], unit length."""


class DualEncoder(ImageTextNetwork):
    """A ViT's patches and a GPT-2's last token, each projected to `width` and normalised.

    Every patch is read where it is: a small ViT finds what a picture shows in a tenth of the time
    that its class token takes to.
    """

    def __init__(
        self, image: ViTModel, text: GPT2Model, tokenizer: PreTrainedTokenizerFast, width: int
    ) -> None:
        super().__init__()
        self.image, self.text, self.tokenizer = image, text, tokenizer
        num_patches = (image.config.image_size // image.config.patch_size) ** 2
        self.squeeze = nn.Linear(image.config.hidden_size, SQUEEZED)
        self.project_image = nn.Linear(num_patches * SQUEEZED, width, bias=False)
        self.project_text = nn.Linear(text.config.hidden_size, width, bias=False)
        self.register_buffer("mean", torch.zeros(width))

    def encode_images(self, pixels: Tensor) -> Tensor:
        """[n, 3, H, W] in [-1, 1] → [n, width], unit length, not yet centred."""
        side = self.image.config.image_size
        pixels = pixels.to(self.mean.device)
        if pixels.shape[-1] != side:
            pixels = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True)
        patches = self.squeeze(self.image(pixels).last_hidden_state[:, 1:])
        return F.normalize(self.project_image(patches.flatten(1)), dim=1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """n texts → [n, width], unit length."""
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",  # one shape for all: a new length costs new kernels
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        mask = tokens["attention_mask"].to(self.mean.device)
        hidden = self.text(
            input_ids=tokens["input_ids"].to(self.mean.device), attention_mask=mask
        ).last_hidden_state
        last = hidden[torch.arange(len(hidden)), mask.sum(dim=1) - 1]
        return F.normalize(self.project_text(last), dim=1)

    def save(self, folder: Path) -> None:
        self.image.save_pretrained(folder / "image_encoder")
        self.text.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        state = {
            name: value.contiguous()
            for name, value in self.state_dict().items()
            if not name.startswith(("image.", "text."))
        }
        save_file(state, folder / PROJECTIONS)


class Encoders:
    """A pair of networks as features and fusion use it: uint8 and strings in, float32 out."""

    def __init__(self, network: ImageTextNetwork, digest: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.digest = digest

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Encoders:
        """What `DualEncoder.save` left in the folder."""
        projections = load_file(folder / PROJECTIONS)
        network = DualEncoder(
            ViTModel.from_pretrained(
                folder / "image_encoder",
                add_pooling_layer=False,
                dtype=torch.float32,
                use_safetensors=True,
            ),
            GPT2Model.from_pretrained(
                folder / "text_encoder", dtype=torch.float32, use_safetensors=True
            ),
            cast(Any, PreTrainedTokenizerFast).from_pretrained(folder / "tokenizer"),
            width=len(projections["mean"]),
        )
        network.load_state_dict(projections, strict=False)
        return cls(network.to(device), digest_folder(folder))

    @property
    def width(self) -> int:
        return len(self.network.mean)

    @torch.inference_mode()
    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 32) -> NDArray[np.float32]:
        """[n, H, W, 3] sRGB → [n, width], centred on the population."""
        chunks = [
            self.network.encode_images(
                to_pixels(images[start : start + batch_size]).to(self.device)
            )
            - self.network.mean
            for start in range(0, len(images), batch_size)
        ]
        return gather(chunks, self.width)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 128) -> NDArray[np.float32]:
        """n texts → [n, width], unit length."""
        chunks = [
            self.network.encode_texts(texts[start : start + batch_size])
            for start in range(0, len(texts), batch_size)
        ]
        return gather(chunks, self.width)

    @property
    def device(self) -> torch.device:
        return self.network.mean.device


def to_pixels(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, H, W, 3] → float32 [n, 3, H, W] in [-1, 1]."""
    # A copy, since torch will not look at arrays that it could not write to, such as Pillow's.
    return torch.from_numpy(np.array(images, order="C")).permute(0, 3, 1, 2).float() / 127.5 - 1


def gather(chunks: Sequence[Tensor], width: int) -> NDArray[np.float32]:
    if not chunks:
        return np.zeros((0, width), np.float32)
    return cast("NDArray[np.float32]", torch.cat(list(chunks)).float().cpu().numpy())
