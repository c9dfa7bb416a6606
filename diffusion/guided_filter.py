"""The fast guided filter (He and Sun, 2015): a small map brought to a large picture's edges.

In every window of the small picture the map is taken for a linear function of colour; that function
is what is enlarged, and applied to the colours of the large picture.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]

RADIUS = 2
"""Of a window, in pixels of the small picture."""

EPSILON = 1e-4
"""Variance of colour (0..1 squared) that is flat: there the map is smoothed, not followed."""


def follow_edges(
    coarse: Plane, small: Plane, large: Plane, radius: int = RADIUS, epsilon: float = EPSILON
) -> Plane:
    """A map [h, w] of the picture `small` [h, w, 3] → [H, W], along the edges of the same picture
    in `large` [H, W, 3]. Colours and the map are in 0..1; the answer is clipped to that."""

    def mean(values: Plane) -> Plane:
        return average(values, radius)

    colour, level = mean(small), mean(coarse)
    outer = small[..., :, None] * small[..., None, :]
    spread = mean(outer.reshape(*coarse.shape, 9)).reshape(outer.shape)
    spread = spread - colour[..., :, None] * colour[..., None, :]
    along = mean(small * coarse[..., None]) - colour * level[..., None]
    system = spread.astype(np.float64) + epsilon * np.eye(3)
    slope = np.linalg.solve(system, along[..., None].astype(np.float64))[..., 0].astype(np.float32)
    offset = level - (slope * colour).sum(axis=-1)
    height, width = large.shape[:2]
    planes = [enlarge(plane, height, width) for plane in (*np.moveaxis(mean(slope), 2, 0),)]
    alpha = enlarge(mean(offset), height, width)
    for channel, plane in enumerate(planes):
        alpha += plane * large[..., channel]
    return np.clip(alpha, 0, 1, out=alpha)


def average(values: Plane, radius: int) -> Plane:
    """Means over windows of [h, w(, C)]; what lies outside is the edge once more."""
    side = 2 * radius + 1
    around = ((radius, radius), (radius, radius), *((0, 0),) * (values.ndim - 2))
    padded = np.pad(values.astype(np.float64), around, "edge")
    for axis in (0, 1):
        sums = np.cumsum(padded, axis=axis)
        sums = np.insert(sums, 0, 0, axis=axis)
        last, first = [slice(None)] * values.ndim, [slice(None)] * values.ndim
        last[axis], first[axis] = slice(side, None), slice(None, -side)
        padded = (sums[tuple(last)] - sums[tuple(first)]) / side
    return cast(Plane, padded.astype(np.float32))


def enlarge(plane: Plane, height: int, width: int) -> Plane:
    image = Image.fromarray(plane.astype(np.float32))
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))
