"""A matting model for photographs: any semantic segmentation checkpoint that transformers has.

SegFormer, BEiT, DPT, UperNet and their like, from a local folder or by name on a hub. Code that a
checkpoint brings along is never run. Its map is brought to the picture's own edges as that of the
embedded network is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

from diffusion.checkpoint import CheckpointUnusable
from diffusion.composition import as_share
from diffusion.cutout import Matte
from diffusion.guided_filter import follow_edges

Pixels = NDArray[np.uint8]

BACKGROUND = "background"
_UNUSABLE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError),
    SafetensorError,
)


class PretrainedMatting:
    """A `diffusion.matting.MattingModel`. Of a network with one label, that is the product; of
    several, all that are named as products, or else all but the one called background."""

    def __init__(
        self, network: Any, processor: Any, name: str, products: Sequence[str] = ()
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.processor, self.name = processor, name
        self.size = _read_size(processor)
        self.labels = _choose_labels(network.config.id2label, products)
        self.digest = _digest(network, processor, self.labels)
        # The whole picture, and all of it: what is cropped or padded would lie elsewhere.
        for step in ("do_resize", "do_center_crop", "do_pad"):
            if hasattr(processor, step):
                setattr(processor, step, False)

    @classmethod
    def load(
        cls, name: str, device: str = "cpu", products: Sequence[str] = ()
    ) -> PretrainedMatting:
        """`name` is a folder or a name on a hub. Raises CheckpointUnusable, also where a label is
        unknown or weights are missing."""
        try:
            processor = AutoImageProcessor.from_pretrained(name, backend="pil")
            network, told = AutoModelForSemanticSegmentation.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
            if told["missing_keys"]:
                raise ValueError(f"weights are missing: {sorted(told['missing_keys'])[:3]}")
            found = cls(network.to(device), processor, name, products)
            found.find_alpha(np.zeros((64, 64, 3), np.uint8))
            return found
        except _UNUSABLE as error:
            raise CheckpointUnusable(f"{name} finds no products: {error}") from error

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.network.device)

    def find_alpha(self, rgb: Pixels) -> Matte:
        """uint8 [H, W, 3] of any size."""
        return self.find_alphas([rgb])[0]

    def find_alphas(self, pictures: Sequence[Pixels], batch_size: int = 4) -> list[Matte]:
        """The same of pictures of any sizes, in shared forwards."""
        mattes = []
        for start in range(0, len(pictures), batch_size):
            batch = pictures[start : start + batch_size]
            found = self._look([_resize(picture, *self.size) for picture in batch]).cpu().numpy()
            for picture, alpha in zip(batch, found, strict=True):
                seen = as_share(_resize(picture, *alpha.shape))
                mattes.append(Matte.of(follow_edges(alpha, seen, as_share(picture))))
        return mattes

    @torch.inference_mode()
    def _look(self, pictures: list[Pixels]) -> Tensor:
        """Pictures of the network's own size → the products' share [n, h, w]."""
        read = self.processor(pictures, input_data_format="channels_last", return_tensors="pt")
        logits = self.network(pixel_values=read["pixel_values"].to(self.device)).logits.float()
        if logits.shape[1] == 1:
            return cast(Tensor, logits.sigmoid()[:, 0])
        return cast(Tensor, logits.softmax(dim=1)[:, list(self.labels)].sum(dim=1).clamp(0, 1))


def _choose_labels(names: dict[int, str], products: Sequence[str]) -> tuple[int, ...]:
    if len(names) == 1:
        return (0,)
    if products:
        by_name = {name: index for index, name in names.items()}
        unknown = sorted(set(products) - set(by_name))
        if unknown:
            raise ValueError(f"no labels {', '.join(unknown)}: it knows {', '.join(by_name)}")
        return tuple(sorted(by_name[name] for name in products))
    chosen = tuple(i for i, name in names.items() if name.lower() != BACKGROUND)
    if len(chosen) == len(names):
        raise ValueError(f"none of its labels is called {BACKGROUND}: name those of products")
    return chosen


def _read_size(processor: Any) -> tuple[int, int]:
    """Height and width that the network was trained at."""
    crops = getattr(processor, "do_center_crop", None) and getattr(processor, "crop_size", None)
    size = dict(processor.crop_size if crops else processor.size)
    side = size.get("shortest_edge") or size.get("longest_edge") or 0
    return int(size.get("height") or side), int(size.get("width") or side)


def _resize(picture: Pixels, height: int, width: int) -> Pixels:
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _digest(network: nn.Module, processor: Any, labels: Sequence[int]) -> str:
    """SHA-256 over what was loaded, wherever it lay; 16 hex digits."""
    sha = hashlib.sha256(processor.to_json_string().encode())
    config = network.config.to_diff_dict()  # type: ignore[operator, union-attr]
    told = config | {"transformers_version": None, "_name_or_path": None, "labels": list(labels)}
    sha.update(json.dumps(told, sort_keys=True, default=str).encode())
    for name, tensor in sorted(network.state_dict().items()):
        sha.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
