"""Restores pictures: a diffusion that begins at the damaged picture instead of at noise.

Inversion by direct iteration (InDI, Delbracio and Milanfar, 2023): x_t = (1 - t) clean + t damaged,
and the network expects the clean picture from x_t. With t in the place of sigma, a step of the
Euler sampler is InDI's own update, so that the sampling engine runs it like any other model: one
tile of a picture is one row.

    filled = fill_holes(pixels, mask)
    levels = restorer.estimate(filled)               # of the whole picture, or as somebody knows
    tiles, places = cut_tiles(filled, restorer.side)
    masks, _ = cut_tiles(mask, restorer.side)
    routes = [restorer.plan(tile, hole, levels=levels) for tile, hole in zip(tiles, masks)]
    restored = join_tiles(np.stack(tiles as the engine decoded them), places)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion.checkpoint import CheckpointUnusable, digest_folder
from diffusion.damage_levels import KINDS, LevelEstimator, Levels, agree
from diffusion.denoiser import Conditions, per_row
from diffusion.encoders import to_pixels
from diffusion.filling import fill_holes
from diffusion.guidance import combine
from diffusion.image_model import Preset, Route
from diffusion.model import UNREADABLE, load_network
from diffusion.samplers import plan_euler, update
from diffusion.tiles import cut_tiles, join_tiles
from diffusion.unet import UNet
from diffusion.walks import Segment, Term, update_digest

__all__ = ["KINDS", "RESTORER", "Levels", "Restorer", "cut_tiles", "fill_holes", "join_tiles"]

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

RESTORER = Path(__file__).with_name("restorer")
WEIGHTS = "diffusion_pytorch_model.safetensors"
NUM_CHANNELS = 7
"""That the network reads: the sample, the damaged picture and the mask of what is unknown."""

NUM_FACTS = 1 + len(KINDS)
"""That it is told of each row: t, and how much there is of each kind of damage."""


class Restorer:
    """What the sampling engine needs of a model, for restoration. "Latents" are a tile's pixels
    [rows, 3, S, S] in [-1, 1].

    Light and colour cast are left as they are: a tile does not know the light of its picture.
    Correct them for the whole picture, before.
    """

    def __init__(
        self,
        network: UNet,
        estimator: LevelEstimator,
        name: str,
        digest: str,
        side: int,
        num_steps: int,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.estimator = estimator.eval().requires_grad_(False)
        for part in (self.network, self.estimator):
            part.to(memory_format=torch.channels_last)
        self.name, self.digest, self.side = name, digest, side
        self.preset = Preset("euler", num_steps, max_shopper_scale=0.0)
        self.latent_shape: tuple[int, ...] = (3, side, side)
        self.sizes: Sequence[tuple[int, int]] = ((side, side),)

    @classmethod
    def load(
        cls, folder: Path = RESTORER, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Restorer:
        """Raises CheckpointUnusable."""
        index = read_index(folder)
        try:
            network = load_network(UNet, folder / "network", dtype).to(device)
            estimator = load_network(LevelEstimator, folder / "estimator", torch.float32)
            digest = digest_folder(folder)
        except UNREADABLE as error:
            raise CheckpointUnusable(f"{folder} is no restorer: {error}") from error
        name, side, num_steps = index["_name_or_path"], index["side"], index["steps"]
        return cls(network, estimator.to(device), name, digest, side, num_steps)

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.network.device)

    @torch.inference_mode()
    def estimate(self, pixels: Pixels, batch_size: int = 8) -> Levels:
        """How much there is of each of `KINDS` in a picture [H, W, 3] of any size: [4] in 0..1."""
        tiles, _ = cut_tiles(pixels, self.side)
        starts = range(0, len(tiles), batch_size)
        batches = [to_pixels(cast(Pixels, tiles[start : start + batch_size])) for start in starts]
        return agree(torch.cat([self.estimator(batch.to(self.device)) for batch in batches]))

    def plan(
        self,
        damaged: Pixels,
        mask: Mask | None = None,
        num_steps: int | None = None,
        levels: Levels | None = None,
    ) -> Route:
        """The way of one tile: uint8 [S, S, 3], and what of it is unknown, True [S, S].

        Pixels under the mask must have been made up for the whole picture, by `fill_holes`.
        `levels` [4] are the picture's; without them the tile's own are estimated, which knows less.
        Levels of zero keep everything outside the mask nearly as it is. The same tile is the same
        walk, so that the engine walks it once.
        """
        if damaged.shape != (self.side, self.side, 3):
            raise ValueError(f"want a tile of {self.side} px, got {damaged.shape}")
        unknown = np.zeros(damaged.shape[:2], np.bool_) if mask is None else mask.astype(np.bool_)
        known = self.estimate(damaged) if levels is None else levels.astype(np.float32)
        steps = num_steps or self.preset.num_steps
        plan = plan_euler([1 - i / steps for i in range(steps)] + [0.0])
        pixels = to_pixels(damaged[None])
        cond = {
            "damaged": pixels,
            "mask": torch.from_numpy(unknown)[None, None].float(),
            "levels": torch.from_numpy(known)[None],
        }
        digest = hashlib.blake2b(digest_size=16)
        for part in (damaged, unknown, known):
            digest.update(part.tobytes())
        update_digest(digest, iter(plan))
        walk = (Segment(steps, (Term(cond, 1.0),), digest.digest()),)
        return Route(plan, walk, self.latent_shape, 0.0, pixels[0].to(self.device))

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: Tensor, cond: Conditions) -> Tensor:
        return predict(self.network, x, sigma, cond["damaged"], cond["mask"], cond["levels"])

    def combine(
        self, predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor
    ) -> Tensor:
        return combine(predicted, weight, owner, x, sigma)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Pixels:
        """[rows, 3, S, S] → uint8 [rows, S, S, 3]."""
        coded = ((latents + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return cast(Pixels, coded.permute(0, 2, 3, 1).cpu().numpy())

    def restore(
        self,
        pixels: Pixels,
        mask: Mask | None = None,
        num_steps: int | None = None,
        levels: Levels | None = None,
        batch_size: int = 8,
    ) -> Pixels:
        """A whole picture uint8 [H, W, 3] of any size, without an engine; same shape.

        Pixels under the mask [H, W] are painted, all others restored.
        """
        unknown = np.zeros(pixels.shape[:2], np.bool_) if mask is None else mask
        filled = fill_holes(pixels, unknown)
        known = self.estimate(filled) if levels is None else levels
        tiles, places = cut_tiles(filled, self.side)
        masks, _ = cut_tiles(unknown, self.side)
        routes = [
            self.plan(cast(Pixels, tile), cast(Mask, hole), num_steps, known)
            for tile, hole in zip(tiles, masks, strict=True)
        ]
        starts = range(0, len(routes), batch_size)
        restored = [self._walk(routes[start : start + batch_size]) for start in starts]
        return cast(Pixels, join_tiles(np.concatenate(restored), places))

    def _walk(self, routes: Sequence[Route]) -> Pixels:
        """Routes of one length, all in step."""
        x = torch.stack([cast(Tensor, route.image) for route in routes])
        terms = [route.walk[0].terms[0].cond for route in routes]
        cond = {name: torch.cat([term[name] for term in terms]).to(x.device) for name in terms[0]}
        for tick in routes[0].plan:
            sigma = x.new_full((len(x),), tick.sigma)
            table = x.new_tensor([tick.coefficients]).expand(len(x), -1)
            x, _ = update(x, self.denoise(x, sigma, cond), torch.zeros_like(x), table)
        return self.decode(x)


def predict(
    network: UNet, x: Tensor, t: Tensor, damaged: Tensor, mask: Tensor, levels: Tensor
) -> Tensor:
    """The clean picture [n, 3, H, W] expected from x_t and levels [n, 4] of damage, in float32."""
    seen = torch.cat([x, damaged, mask.to(x.dtype)], dim=1).to(network.dtype)
    facts = torch.cat([t[:, None], levels.to(t.dtype)], dim=1)
    change = network(seen.contiguous(memory_format=torch.channels_last), facts)
    return x + cast(Tensor, change).float()


def mix(clean: Tensor, damaged: Tensor, t: Tensor) -> Tensor:
    """x_t of rows at their own t [n]."""
    return torch.lerp(clean, damaged, per_row(t, clean))


def read_index(folder: Path) -> dict[str, Any]:
    """What a restorer says of itself, without its weights. Raises CheckpointUnusable."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
        if not (isinstance(index, dict) and isinstance(index.get("_name_or_path"), str)):
            raise ValueError("its model_index.json has no name")
        for key in ("side", "steps"):
            if not (isinstance(value := index.get(key), int) and value > 0):
                raise ValueError(f"its model_index.json has {key}: {value!r}")
        told = json.loads((folder / "network" / "config.json").read_text())
        read = told["in_channels"], told["num_facts"]
        if read != (NUM_CHANNELS, NUM_FACTS):
            raise ValueError(f"it reads {read[0]} channels and {read[1]} facts")
        for part in ("network", "estimator"):
            (folder / part / WEIGHTS).stat()
    except (*UNREADABLE, TypeError) as error:
        raise CheckpointUnusable(f"{folder} is no restorer: {error}") from error
    return index


def save_index(folder: Path, name: str, side: int, num_steps: int) -> None:
    """model_index.json in diffusers' layout."""
    index = {
        "_class_name": "Restorer",
        "_name_or_path": name,
        "network": ["diffusion.unet", "UNet"],
        "estimator": ["diffusion.damage_levels", "LevelEstimator"],
        "side": side,
        "steps": num_steps,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
