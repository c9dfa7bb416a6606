"""Product and shopper become the conditions of a row."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ProductCondition:
    """A product as the generator sees it; `packshot` is latents and mask [1, C + 1, s, s]."""

    packshot: Tensor
    image_embedding: Vector
    title_embedding: Vector


def fuse(product: ProductCondition, shopper: Vector | None, task: str) -> dict[Given, Conditions]:
    """The conditions of one row for everything that guidance may ask; each tensor is [1, ...].

    Without a shopper `Given.BOTH` is absent: nothing of a shopper can enter a generic image.
    """
    device = product.packshot.device
    taste = np.zeros(len(product.image_embedding), np.float32) if shopper is None else shopper
    shared: dict[str, Tensor] = {
        "packshot": product.packshot,
        "product": torch.tensor(product.image_embedding, device=device)[None],
        "title": torch.tensor(product.title_embedding, device=device)[None],
        "task": torch.tensor([TASKS.index(task)], device=device),
    }
    somebody = CERTAINTY * torch.tensor(taste, device=device)[None]
    nobody = torch.zeros_like(somebody)
    return {
        given: {
            **shared,
            "shopper": somebody if given.has_shopper else nobody,
            "has_product": torch.tensor([given.has_product], device=device),
            "has_shopper": torch.tensor([given.has_shopper], device=device),
        }
        for given in Given
        if shopper is not None or not given.has_shopper
    }
