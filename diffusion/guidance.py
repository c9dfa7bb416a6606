"""Guidance is rows: which conditions are evaluated, and how their predictions are weighed.

    D = D(∅,∅) + s_product·(D(p,∅) - D(∅,∅)) + s_shopper·(D(p,u) - D(p,∅))

after InstructPix2Pix (Brooks et al., 2023, eq. 3), with the shopper in the instruction's place. A
term whose weight vanishes is not evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor


class Given(Enum):
    """What a forward row is given to know."""

    NOTHING = (False, False)
    PRODUCT = (True, False)
    SHOPPER = (False, True)
    BOTH = (True, True)

    @property
    def has_product(self) -> bool:
        return self.value[0]

    @property
    def has_shopper(self) -> bool:
        return self.value[1]


MAX_TERMS = 3
"""Forward rows that one image takes at most."""

Weights = tuple[tuple[Given, float], ...]


@dataclass(frozen=True, slots=True)
class Guidance:
    """Scales of product and shopper; 1 and 0 is the plain product, 1 and 1 the plain pair."""

    product_scale: float = 1.0
    shopper_scale: float = 0.0

    @property
    def terms(self) -> Weights:
        """The rows to evaluate and their weights, which sum to 1."""
        return _drop_vanishing(
            (Given.NOTHING, 1.0 - self.product_scale),
            (Given.PRODUCT, self.product_scale - self.shopper_scale),
            (Given.BOTH, self.shopper_scale),
        )

    @property
    def terms_without_product(self) -> Weights:
        """The same while the product is not known yet: with p = ∅ the formula's first two agree."""
        return _drop_vanishing(
            (Given.NOTHING, 1.0 - self.shopper_scale), (Given.SHOPPER, self.shopper_scale)
        )


def _drop_vanishing(*weights: tuple[Given, float]) -> Weights:
    return tuple((given, weight) for given, weight in weights if weight != 0.0)


def combine(predicted: Tensor, weight: Tensor, owner: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Predictions of guidance's rows [terms, ...], weighed [terms], become one of each image.

    `owner` [terms] says which image [rows, ...] of `x` a term belongs to; `sigma` [terms] is its
    noise level, of which a sum by itself has no need.
    """
    weighed = weight.reshape(-1, *(1,) * (predicted.dim() - 1)) * predicted
    return torch.zeros_like(x).index_add_(0, owner, weighed)
