"""Pictures of any size as overlapping square tiles, and back without seams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 128
OVERLAP = 32
"""Pixels that neighbours share, and a margin that is thrown away where a picture ends."""

MARGIN = 8
"""Pixels at a tile's edge that count for nothing: a network has seen too little around them."""

GRID = 8
"""Tiles begin at multiples of it, so that blocks of a JPEG lie in all of them alike."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Places:
    """Where tiles lie: (top, left) of each in the picture [height, width] that has `MARGIN`
    reflected pixels around it."""

    height: int
    width: int
    side: int
    corners: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.corners)


def cut_tiles(pixels: Array, side: int = SIDE, overlap: int = OVERLAP) -> tuple[Array, Places]:
    """A picture or a mask [H, W] or [H, W, C] of any kind and size, at least 1 x 1, → tiles
    [n, side, side(, C)] of the same kind, by rows, and where they lie.

    What is smaller than a tile is continued by its own reflection. `overlap` is at least twice
    `MARGIN` and less than `side`. Cut a picture and its mask with the same numbers.
    """
    if not 2 * MARGIN <= overlap < side:
        raise ValueError(f"an overlap of {overlap} px does not suit tiles of {side} px")
    height, width = pixels.shape[:2]
    tops, tall = _place(height, side, overlap)
    lefts, wide = _place(width, side, overlap)
    around = ((MARGIN, tall - height - MARGIN), (MARGIN, wide - width - MARGIN))
    padded = np.pad(pixels, (*around, *((0, 0),) * (pixels.ndim - 2)), mode="symmetric")
    corners = tuple((top, left) for top in tops for left in lefts)
    tiles = np.stack([padded[top : top + side, left : left + side] for top, left in corners])
    return tiles, Places(height, width, side, corners)


def join_tiles(tiles: Array, places: Places) -> Array:
    """Tiles [n, side, side(, C)] → the picture [H, W(, C)], of the same kind.

    Where tiles overlap, each counts less the nearer its own edge is. Tiles that agree come out as
    they are, to the code.
    """
    if len(tiles) != len(places):
        raise ValueError(f"{len(tiles)} tiles for {len(places)} places")
    side = places.side
    tall = max(top for top, _ in places.corners) + side
    wide = max(left for _, left in places.corners) + side
    weight = _weigh(side).reshape(side, side, *(1,) * (tiles.ndim - 3))
    total = np.zeros((tall, wide, *tiles.shape[3:]))
    share = np.zeros((tall, wide, *(1,) * (tiles.ndim - 3)))
    for tile, (top, left) in zip(tiles, places.corners, strict=True):
        box = np.s_[top : top + side, left : left + side]
        total[box] += weight * tile
        share[box] += weight
    own = np.s_[MARGIN : MARGIN + places.height, MARGIN : MARGIN + places.width]
    joined = total[own] / share[own]
    if np.issubdtype(tiles.dtype, np.integer):
        return np.rint(joined).astype(tiles.dtype)
    return joined.astype(tiles.dtype)


def _place(length: int, side: int, overlap: int) -> tuple[list[int], int]:
    """Where tiles begin on one axis, evenly spread, and what length they cover."""
    last = -(-max(length + 2 * MARGIN - side, 0) // GRID) * GRID
    count = 1 + -(-last // (side - overlap))
    # Down to the grid: neighbours may share a little more, and never less.
    gap = last / max(count - 1, 1)
    starts = [last - int((count - 1 - i) * gap) // GRID * GRID for i in range(count)]
    return [0, *starts[1:]], last + side


def _weigh(side: int) -> NDArray[np.float64]:
    """[side, side]: nothing in the margin, then rising to the middle."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5 - MARGIN
    ramp = np.clip(distance / (OVERLAP - 2 * MARGIN), 0, 1)
    smooth = ramp * ramp * (3 - 2 * ramp)
    return np.outer(smooth, smooth)
