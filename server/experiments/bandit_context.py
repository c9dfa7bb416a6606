"""What a bandit knows of who asks: twelve numbers, which the log and the token tell as well.

An embedding can't be found again from them: eight rounded numbers stand for its hundreds, and what
differs in all other directions gives the same eight. Its length, how much is known of a shopper,
is not in them either.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from features.records import Shopper
from server.core import ImageRequest

NUM_FACTS = 4
NUM_TASTES = 8
SIZE = NUM_FACTS + NUM_TASTES
HIDDEN = 8
"""An embedding has at least so many numbers for each that is told of it."""

_DECIMALS = 2

Floats = NDArray[np.float64]


def describe(request: ImageRequest, shopper: Shopper | None) -> tuple[float, ...]:
    """[SIZE]: 1, whether nobody is named, whether there are a taste and interests; the taste.

    Of a shopper without consent, or of whom nothing was read, it is the first two alone.
    """
    facts = [1.0, float(not request.user_id)]
    if shopper is None or not shopper.consent:
        return (*facts, *[0.0] * (SIZE - len(facts)))
    taste = [0.0] * NUM_TASTES if shopper.profile is None else _project(shopper.profile)
    return (*facts, float(shopper.profile is not None), float(bool(shopper.interests)), *taste)


def _project(profile: NDArray[np.float32]) -> list[float]:
    """Of about the length 1, whatever the width; of narrow ones the last are 0."""
    wide = profile.astype(np.float64)  # its square is finite there
    length = math.sqrt(float(wide @ wide))
    if not 0 < length < math.inf:
        return [0.0] * NUM_TASTES
    signs = _find_signs(len(profile))
    told = [round(each, _DECIMALS) for each in (signs @ (wide / length)).tolist()]
    return told + [0.0] * (NUM_TASTES - len(told))


@lru_cache(maxsize=8)
def _find_signs(width: int) -> Floats:
    """Random ones, [NUM_TASTES or fewer, width], the same on every machine and for good: with
    others, what was logged would mean something else."""
    num = min(NUM_TASTES, width // HIDDEN)
    drawn = hashlib.shake_256(b"etalage bandit").digest(NUM_TASTES * width // 8 + 1)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8))[: num * width]
    signs = bits.reshape(num, width).astype(np.float64) * 2.0 - 1.0
    return np.asarray(signs / math.sqrt(NUM_TASTES), np.float64)
