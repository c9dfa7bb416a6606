"""The embedded default as a whole: autoencoder, transformer and encoders from one checkpoint."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

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
from diffusion.embedded import EmbeddedModel
from diffusion.encoders import Encoders, to_pixels
from diffusion.fusion import ProductCondition, Vector
from diffusion.image_model import Preset
from diffusion.samplers import flow_sigmas, karras_sigmas
from diffusion.taste_buckets import TasteBuckets
from diffusion.transformer import ProductTransformer
from diffusion.walks import Intervals, Rules

Pixels = NDArray[np.uint8]
N = TypeVar("N", bound=nn.Module)
KARRAS_RANGE = (0.02, 200.0)
PARTS = {
    "autoencoder": "Autoencoder",
    "transformer": "ProductTransformer",
    "encoders": "Encoders",
}
BORROWED = "encoders_digest"
"""In a student's card: of whose embeddings it was taught."""

NUM_FAST_STEPS = 4
"""Of a student that does not say how many it was distilled for."""

UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


class ProductDiffusion(EmbeddedModel):
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
        rules: Rules | None = None,
        shift: float = 1.0,
    ) -> None:
        device = encoders.device
        self.autoencoder = autoencoder.eval().requires_grad_(False).to(device)
        self.transformer = transformer.eval().requires_grad_(False).to(device)
        self.encoders, self.name, self.digest = encoders, name, digest
        self.rules, self.shift, self.preset = rules or Rules(), shift, Preset()
        side = transformer.config.latent_side
        self.latent_shape: tuple[int, ...] = (transformer.config.latent_channels, side, side)
        self.pixel_side = 8 * side
        self.sizes: Sequence[tuple[int, int]] = ((self.pixel_side, self.pixel_side),)
        self.embedding_width = encoders.width
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
                read_rules(index, folder),
                index.get("shift", 1.0),
            )
        except UNREADABLE as error:
            raise CheckpointUnusable(f"{folder} is no checkpoint of this model: {error}") from error

    @classmethod
    def load_student(
        cls, folder: Path, teacher: ProductDiffusion, dtype: torch.dtype = torch.float32
    ) -> ProductDiffusion:
        """A transformer that was distilled from the teacher's, with the teacher's own autoencoder
        and encoders. Raises CheckpointUnusable, also where it was taught with other encoders."""
        try:
            index = json.loads((folder / "model_index.json").read_text())
            if index[BORROWED] != teacher.encoders.digest:
                raise ValueError(f"taught with encoders {index[BORROWED]}, not with {teacher.name}")
            digests = f"{digest_folder(folder)} {teacher.digest}"
            student = cls(
                teacher.autoencoder,
                load_network(ProductTransformer, folder / "transformer", dtype),
                teacher.encoders,
                index["_name_or_path"],
                hashlib.sha256(digests.encode()).hexdigest()[:16],
                read_rules(index, folder),
                index.get("shift", 1.0),
            )
            student.preset = Preset(num_steps=index.get("steps", NUM_FAST_STEPS))
            return student
        except UNREADABLE as error:
            raise CheckpointUnusable(f"{folder} is no student of this model: {error}") from error

    @property
    def device(self) -> torch.device:
        return self.encoders.device

    def sigmas(self, num_steps: int, name: str | None = None) -> list[float]:
        """From noise to 0: the model's own, "uniform" in time, or "karras"."""
        if name == "karras":
            return karras_sigmas(num_steps, *KARRAS_RANGE)
        return flow_sigmas(num_steps, shift=self.shift if name is None else 1.0)

    def compile(self) -> None:
        """Compiles the transformer, once for each number of rows that it is given; on a GPU each
        becomes one CUDA graph."""
        torch._dynamo.config.recompile_limit = 64  # models of one class count together
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        network = torch.compile(self.transformer, mode=mode, dynamic=False)
        self._denoiser = FlowDenoiser(network)

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


def read_rules(index: dict[str, Any], folder: Path) -> Rules:
    """Intervals by task as the card has them."""
    intervals = {}
    for task, told in index.get("intervals", {}).items():
        low, high = told.get("guidance", (0.0, math.inf))
        sides = told.get("product", math.inf), told.get("shopper", math.inf)
        intervals[task] = Intervals(*sides, (low, high))
    return Rules(intervals, TasteBuckets.load(folder))


def save_index(
    folder: Path,
    name: str,
    card: Mapping[str, Any] | None = None,
    parts: Sequence[str] = tuple(PARTS),
) -> None:
    """model_index.json in diffusers' layout; `card` holds `shift` and `intervals` by task."""
    index = {
        "_class_name": "ProductDiffusion",
        "_name_or_path": name,
        **{part: [f"diffusion.{part}", PARTS[part]] for part in parts},
        **(card or {}),
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def save_student_index(
    folder: Path, name: str, card: Mapping[str, Any], teacher: ProductDiffusion
) -> None:
    """The card of a student, with the teacher's taste buckets beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_index(folder, name, {BORROWED: teacher.encoders.digest, **card}, ["transformer"])
    if teacher.rules.buckets is not None:
        teacher.rules.buckets.save(folder)
