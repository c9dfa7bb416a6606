"""The embedded default as a whole: autoencoder, transformer and encoders from one checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.autoencoder import Autoencoder
from diffusion.checkpoint import CheckpointUnusable, digest_folder
from diffusion.composition import place_on_white
from diffusion.denoiser import Conditions, FlowDenoiser
from diffusion.encoders import Encoders, to_pixels
from diffusion.fusion import ProductCondition, Vector
from diffusion.samplers import flow_sigmas
from diffusion.transformer import ProductTransformer

Pixels = NDArray[np.uint8]
N = TypeVar("N", bound=nn.Module)


class ProductDiffusion:
    """What the sampling engine needs of a model family, for the embedded default.

    Latents are [rows, 16, 16, 16] for pictures of 128 px; `denoise` has the one signature of
    `diffusion.denoiser`, computes in the transformer's dtype and answers in float32.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        transformer: ProductTransformer,
        encoders: Encoders,
        name: str,
        digest: str,
    ) -> None:
        device = encoders.device
        self.autoencoder = autoencoder.eval().requires_grad_(False).to(device)
        self.transformer = transformer.eval().requires_grad_(False).to(device)
        self.encoders, self.name, self.digest = encoders, name, digest
        side = transformer.config.latent_side
        self.latent_shape: tuple[int, ...] = (transformer.config.latent_channels, side, side)
        self.pixel_side = 8 * side
        self._denoiser = FlowDenoiser(self.transformer)

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> ProductDiffusion:
        """Raises CheckpointUnusable."""
        try:
            index = json.loads((folder / "model_index.json").read_text())
            return cls(
                load_network(Autoencoder, folder / "autoencoder", torch.float32),
                load_network(ProductTransformer, folder / "transformer", dtype),
                Encoders.load(folder / "encoders", device),
                index["_name_or_path"],
                digest_folder(folder),
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointUnusable(f"{folder} is no checkpoint of this model: {error}") from error

    @property
    def device(self) -> torch.device:
        return self.encoders.device

    def sigmas(self, num_steps: int) -> list[float]:
        return flow_sigmas(num_steps)

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        return self._denoiser(x, sigma, cond)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Pixels:
        """[rows, C, s, s] → uint8 [rows, S, S, 3]."""
        pixels = self.autoencoder.decode(latents)
        coded = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return cast(Pixels, coded.permute(0, 2, 3, 1).cpu().numpy())

    @torch.inference_mode()
    def prepare_product(
        self, packshot: Pixels, image_embedding: Vector, title_embedding: Vector
    ) -> ProductCondition:
        """A cut-out packshot uint8 [H, W, 4] and its two vectors, as the generator sees them."""
        white, alpha = place_on_white(packshot, self.pixel_side)
        pixels = to_pixels(white[None]).to(self.device)
        cover = torch.from_numpy(alpha)[None, None].to(self.device)
        return ProductCondition(
            encode_packshot(self.autoencoder, pixels, cover), image_embedding, title_embedding
        )


def encode_packshot(autoencoder: Autoencoder, pixels: Tensor, alpha: Tensor) -> Tensor:
    """Pixels on white [n, 3, S, S], alpha [n, 1, S, S] → latents and mask [n, C + 1, s, s]."""
    latents = autoencoder.encode(pixels)
    mask = F.adaptive_avg_pool2d(alpha, (latents.shape[-2], latents.shape[-1]))
    return torch.cat([latents, mask.to(latents.dtype) * 2 - 1], dim=1)


def load_network(kind: type[N], folder: Path, dtype: torch.dtype) -> N:
    """Raises ValueError where the weights are not those of the configuration beside them."""
    # By state, since diffusers' own loading leaves tensors that do not fit on the meta device.
    network = kind.from_config(kind.load_config(folder))  # type: ignore[attr-defined]
    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    network.load_state_dict(state)
    nn.Module.to(network, dtype)  # diffusers' own warns about networks like ours
    return cast(N, network)


def save_index(folder: Path, name: str) -> None:
    """model_index.json in diffusers' layout."""
    index = {
        "_class_name": "ProductDiffusion",
        "_name_or_path": name,
        "autoencoder": ["diffusion.autoencoder", "Autoencoder"],
        "transformer": ["diffusion.transformer", "ProductTransformer"],
        "encoders": ["diffusion.encoders", "Encoders"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
