"""Whether a picture came through a JPEG, and how hard that squeezed it.

A JPEG rounds the cosine coefficients of 8 x 8 blocks to multiples of a step, most of them to zero.
Cut along its own grid a picture has far more zeros than along any of the 63 others; smooth drawings
have about as many along all of them. The step tells the quality.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from server.enhancement.nouns import Measure, Plane

MAX_CELLS = 4096  # in which blocks are looked for: as many as a picture of 512 x 512 has
MAX_BLOCKS = 400  # of those with something in them, for each of the grids
MIN_BLOCKS, MIN_WHOLE = 8, 40
CONTRAST = 30.0  # codes between the darkest and the lightest of a block
GRID_FOUND = 0.026  # more zeros than along the next best grid; drawings have at most 0.02 more
NOT_ZERO = 1.5  # what rounding pixels makes of a coefficient that was zero is less
EXPLAINED = 0.35  # of the coefficients, by the steps
SURE = 0.25  # 1 where all are multiples of their steps; fine steps drown in rounding
QUALITY_FOUND = 70  # and less is worth to be restored
QUALITIES = (
    3,
    5,
    8,
    10,
    12,
    15,
    18,
    20,
    25,
    30,
    35,
    40,
    45,
    50,
    55,
    60,
    65,
    70,
    75,
    80,
    85,
    90,
    95,
)

Blocks = NDArray[np.float32]
Cells = NDArray[np.int64]
Array = NDArray[Any]

_N = np.arange(8)
_COSINES = np.sqrt(2 / 8) * np.cos(np.pi * (2 * _N[None] + 1) * _N[:, None] / 16)
_COSINES[0] /= np.sqrt(2)
_COSINES = _COSINES.astype(np.float32)
_IS_HIGH = _N[:, None] + _N[None] >= 4
# ITU-T T.81, table K.1: what quality 50 divides by; the coefficients that are looked at.
_STEPS = np.array(
    [
        [16, 11, 10, 16, 24],
        [12, 12, 14, 19, 26],
        [14, 13, 16, 24, 40],
        [14, 17, 22, 29, 51],
        [18, 22, 37, 56, 68],
    ],
    np.float32,
)
_IS_LOW = (_N[:5, None] + _N[None, :5] >= 1) & (_N[:5, None] + _N[None, :5] <= 4)


def measure_jpeg(luma: Plane) -> Measure:
    clean = Measure(0.0, False, "no grid of a JPEG")
    if min(luma.shape) < 32:
        return clean
    cells = find_cells(luma)
    grids = [(top, left) for top in range(8) for left in range(8)]
    shares = np.array([_count_zeros(cut_blocks(luma, cells, *grid)) for grid in grids])
    best = int(shares.argmax())
    ahead = float(shares[best] - np.delete(shares, best).max())
    if not ahead >= GRID_FOUND:  # nor where there is nothing to count
        return clean
    quality = estimate_quality(transform(prefer_whole(cut_blocks(luma, cells, *grids[best]))))
    words = f"a JPEG of quality {quality}" if quality > 3 else "a JPEG of the lowest quality"
    score = float(np.clip((100 - quality) / 95, 0, 1))
    return Measure(score, quality <= QUALITY_FOUND, words)


def find_cells(luma: Plane) -> Cells:
    """Upper left corners [n, 2] of cells of 8 x 8, evenly over all in or beside which there is
    something, along any grid."""
    height, width = luma.shape
    around = np.pad(luma, ((0, 8 + -height % 8), (0, 8 + -width % 8)), "edge")
    cells = around.reshape(len(around) // 8, 8, -1, 8)
    low, high = cells.min((1, 3)), cells.max((1, 3))
    nearby = (np.s_[:-1, :-1], np.s_[1:, :-1], np.s_[:-1, 1:], np.s_[1:, 1:])
    contrast = np.max([high[s] for s in nearby], axis=0) - np.min([low[s] for s in nearby], axis=0)
    return _thin(8 * np.argwhere(contrast > CONTRAST), MAX_CELLS)


def cut_blocks(luma: Plane, cells: Cells, top: int, left: int) -> Blocks:
    """Those with something in them along one grid [n, 8, 8]."""
    corners = cells + (top, left)
    rows, columns = corners[(corners + 8 <= luma.shape).all(axis=1)].T
    blocks = sliding_window_view(luma, (8, 8))[rows, columns]
    blocks = blocks[np.ptp(blocks, axis=(1, 2)) > CONTRAST]
    return np.asarray(_thin(blocks, MAX_BLOCKS), np.float32)


def prefer_whole(blocks: Blocks) -> Blocks:
    """What rings beyond white and black is cut off, and then keeps to no step: blocks without such
    pixels, where there are enough."""
    whole = blocks[(blocks.min(axis=(1, 2)) > 2) & (blocks.max(axis=(1, 2)) < 253)]
    return whole if len(whole) >= MIN_WHOLE else blocks


def transform(blocks: Blocks) -> Blocks:
    """The cosine transform of blocks [n, 8, 8]."""
    return np.asarray(_COSINES @ blocks @ _COSINES.T, np.float32)


def estimate_quality(coefficients: Blocks) -> int:
    """The lowest quality of the usual encoders whose steps the coefficients [n, 8, 8] keep to."""
    low = np.abs(coefficients[:, :5, :5][:, _IS_LOW])
    num_told = int((low > NOT_ZERO).sum())
    keeps = []
    for quality in QUALITIES:
        scale = 50 / quality if quality < 50 else 2 - quality / 50
        steps = np.clip(np.rint(_STEPS[_IS_LOW] * scale), 1, 255)
        told = low > steps / 2
        # Steps that would have rounded most of what is there to zero can't have been these.
        is_likely = told.sum() > max(8, EXPLAINED * num_told)
        keeps.append(float(np.cos(2 * np.pi * low / steps)[told].mean()) if is_likely else -1.0)
    enough = max(0.8 * max(keeps), SURE)
    return next((q for q, k in zip(QUALITIES, keeps, strict=True) if k >= enough), QUALITIES[-1])


def _thin(items: Array, count: int) -> Array:
    """So many of them at most, evenly over all."""
    if len(items) <= count:
        return items
    return np.asarray(items[np.linspace(0, len(items) - 1, count).astype(int)])


def _count_zeros(blocks: Blocks) -> float:
    if len(blocks) < MIN_BLOCKS:
        return np.nan
    return float((np.abs(transform(blocks)[:, _IS_HIGH]) < 1).mean())
