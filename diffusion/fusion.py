"""Product and shopper become the conditions of a row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion.denoiser import Conditions
from diffusion.guidance import Given
from diffusion.transformer import TASKS

CERTAINTY = 1.4
"""An embedding's length says how sure it is. Taken for this much surer, a taste is followed more
often (palette 80 → 84, setting 84 → 88 of 100 pictures) at no further forward row."""

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class ProductCondition:
    """A product as the generator sees it; `packshot` is latents and mask [1, C + 1, s, s]."""

    packshot: Tensor
    image_embedding: Vector
    title_embedding: Vector

    @cached_property
    def digest(self) -> bytes:
        """Of all that the generator sees: equal digests, equal product."""
        parts = self.packshot.cpu().numpy(), self.image_embedding, self.title_embedding
        return hashlib.blake2b(b"".join(p.tobytes() for p in parts), digest_size=16).digest()

    @property
    def num_bytes(self) -> int:
        parts = self.packshot, self.image_embedding, self.title_embedding
        return sum(part.nbytes for part in parts)


@dataclass(frozen=True, slots=True)
class ShopperCondition:
    """Who the shopper is when shown this product [w], and the centroid of their taste bucket [w],
    which knows of no product; None where they belong to none."""

    vector: Vector
    centroid: Vector | None = None


def fuse(
    product: ProductCondition, shopper: Vector | None, task: str, look: Vector | None = None
) -> dict[Given, Conditions]:
    """The conditions of one row for everything that guidance may ask; each tensor is [1, ...].

    Without a shopper nothing that has one is there, and rows without the product hold zeros in its
    place: nothing of either can enter where it is not known. A `look` [w] is who stands where
    nobody would: a shopper of no other taste.
    """
    device = product.packshot.device
    taste = np.zeros(len(product.image_embedding), np.float32) if shopper is None else shopper
    known: dict[str, Tensor] = {
        "packshot": product.packshot,
        "product": torch.tensor(product.image_embedding, device=device)[None],
        "title": torch.tensor(product.title_embedding, device=device)[None],
    }
    unknown = {name: torch.zeros_like(value) for name, value in known.items()}
    number = torch.tensor([TASKS.index(task)], device=device)
    somebody = CERTAINTY * torch.tensor(taste, device=device)[None]
    nobody = torch.zeros_like(somebody)
    if look is not None:
        nobody = CERTAINTY * torch.tensor(look, device=device)[None]
    return {
        given: {
            **(known if given.has_product else unknown),
            "task": number,
            "shopper": somebody if given.has_shopper else nobody,
            "has_product": torch.tensor([given.has_product], device=device),
            "has_shopper": torch.tensor([given.has_shopper or look is not None], device=device),
        }
        for given in Given
        if shopper is not None or not given.has_shopper
    }
