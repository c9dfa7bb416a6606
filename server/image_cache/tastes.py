"""Which shoppers are shown each other's images: those whose tastes lie in one cell.

A cell is a bucket of the model's own, or, for a model that has none, one of 128 that are fixed once
and for all; and the octave of the embedding's length, since a length says how sure a taste is. The
number of cells does not grow with the number of shoppers, so the more there are, the more share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from diffusion.taste_buckets import TasteBuckets

GENERIC = "generic"
"""The cell of everybody who takes no part."""

NUM_AXES = 64

Vector = NDArray[np.float32]


def quantize_taste(
    taste: Vector | None, buckets: TasteBuckets | None = None, interests: Sequence[str] = ()
) -> str:
    """The cell of a taste [w] as it points when shown no product; None is nobody's.

    `interests` are those that the model reads, in its order; most read none.
    """
    if taste is None:
        return GENERIC
    length = float(np.linalg.norm(taste))
    if not 0 < length < math.inf:
        return "/".join(("nowhere", *interests))
    number = None if buckets is None else buckets.find(taste)
    cell = f"axis {find_axis(taste)}" if number is None else f"bucket {number}"
    return "/".join((cell, f"octave {round(math.log2(length))}", *interests))


def find_axis(taste: Vector) -> int:
    """The nearest of `NUM_AXES` random axes at right angles, and which end of it: 0 to 127.

    The cross-polytope of Andoni et al. (2015), "Practical and Optimal LSH for Angular Distance".
    """
    along = taste @ _draw_axes(len(taste))
    nearest = int(np.abs(along).argmax())
    return 2 * nearest + int(along[nearest] > 0)


@lru_cache(maxsize=4)
def _draw_axes(width: int) -> Vector:
    """[w, axes], the same on every machine and after every start."""
    drawn = np.random.default_rng(0).normal(size=(width, min(NUM_AXES, width)))
    return np.linalg.qr(drawn)[0].astype(np.float32)
