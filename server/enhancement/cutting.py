"""Whether a matte left a part of the product behind.

Before a plain ground that can be told without a model: what stands out from the ground and hangs
together with what the matte kept is the product. But for its shadow, which has the colour of the
ground, only less of it: a product that is all grey before white can't be told from one.
"""

from __future__ import annotations

import numpy as np

from diffusion.composition import as_share
from diffusion.cutout import grow
from server.core import Pixels
from server.enhancement.framing import (
    find_ground,
    is_ground,
    shrink,
    shrink_plane,
    tell_from_ground,
)
from server.enhancement.nouns import Mask
from server.enhancement.overlay import label

TINTED = 18.0  # codes beside the ground's colour: more is no shadow
DARKEST = 0.35  # of the ground's light: less is no shadow, but for a line where a product stands
THIN = 2  # pixels of the copy: what is no wider on both sides is an edge
LOST_FOUND = 0.03  # of the product


def loses_product(rgb: Pixels, alpha: Pixels) -> bool:
    """Whether more than an edge of a product [H, W, 3] is outside alpha [H, W]; False where its
    ground is not plain enough to tell."""
    small = shrink(rgb)
    solid = tell_from_ground(small)
    if solid is None or is_ground(solid):
        return False
    kept = shrink_plane(as_share(alpha)) > 0.5
    product = join_parts(solid & ~find_shadow(small), kept)
    lost = drop_thin(product & ~kept, THIN)
    return float(lost.sum()) >= LOST_FOUND * max(int(product.sum()), 1)


def find_shadow(small: Pixels) -> Mask:
    """Where a picture [h, w, 3] has the colour of its ground, only less of it."""
    ground = find_ground(small)
    assert ground is not None, "tell_from_ground found it"
    light = small @ ground / max(float(ground @ ground), 1.0)
    beside = np.abs(small - light[..., None] * ground).max(axis=-1)
    return np.asarray((beside <= TINTED) & (light >= DARKEST) & (light <= 1))


def join_parts(solid: Mask, kept: Mask) -> Mask:
    """Whatever of the solid hangs together with something that was kept."""
    labels = label(solid | kept)
    return solid & np.isin(labels, np.unique(labels[kept]))


def drop_thin(mask: Mask, steps: int) -> Mask:
    """What is wider than twice the steps."""
    return mask & grow(~grow(~mask, steps), steps)
