"""What a product puts over any picture: made once for a product and a size, and kept a while."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from diffusion.composition import Overlay, contact_shadow, find_box, place
from server.imaging.frame import Frame
from server.imaging.growth import Outline
from server.imaging.kept import KeptByPicture

RIM = 0.02  # of the frame: how far the generated product is taken away around the real one
MAX_BYTES = 64 * 1024 * 1024

Cutout = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A packshot at the size and place that it is shown at: its `box` in the picture, straight
    colour uint8 [h, w, 3], alpha uint8 [h, w], and its opaque inside `core` [h, w], which is one
    pixel away from anything else."""

    box: Box
    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    core: Mask

    @classmethod
    def of(cls, rgb: NDArray[np.uint8], alpha: Plane) -> Placed:
        codes = np.rint(alpha * 255).astype(np.uint8)
        box = find_box(codes > 0) if codes.any() else (slice(0), slice(0))
        # The filter takes what is beyond its image for the same as its edge.
        opaque = Image.fromarray(np.pad((codes[box] == 255).astype(np.uint8), 1))
        core = np.asarray(opaque.filter(ImageFilter.MinFilter(3)))[1:-1, 1:-1] > 0
        return cls(box, rgb[box].copy(), codes[box].copy(), core)

    @property
    def num_bytes(self) -> int:
        return self.rgb.nbytes + self.alpha.nbytes + self.core.nbytes

    def put_in(self, frame: Frame) -> Placed:
        """The same in a frame that has it in its square: what of it can be seen."""
        box, seen = shift(self.box, frame)
        return Placed(box, self.rgb[seen], self.alpha[seen], self.core[seen])


@dataclass(frozen=True)
class Layers:
    """The product with its shadow in a square of `side`, and the hole [S, S] that the generated
    product leaves in the picture that it is put over."""

    cutout: Cutout
    overlay: Overlay
    placed: Placed
    hole: Mask

    @classmethod
    def of(cls, cutout: Cutout, side: int, own_side: int) -> Layers:
        rgb, alpha = place(cutout, side)
        overlay = Overlay.of(rgb, alpha, contact_shadow(alpha))
        return cls(cutout, overlay, Placed.of(rgb, alpha), widen(place(cutout, own_side)[1]))

    @cached_property
    def outline(self) -> Outline:
        return Outline.of(self.cutout)

    @property
    def num_bytes(self) -> int:
        return self.overlay.num_bytes + self.placed.num_bytes + self.hole.nbytes


def put_in(overlay: Overlay, frame: Frame) -> Overlay:
    """What is seen in the frame of an overlay for its square."""
    box, seen = shift(overlay.box, frame)
    return Overlay(box, overlay.share[seen], overlay.light[seen])


def shift(box: Box, frame: Frame) -> tuple[Box, Box]:
    """A box in the frame's square → what is seen of it, in the frame and in the box itself."""
    square = frame.square
    rows, rows_seen = shift_slice(box[0], square.top, frame.height)
    columns, columns_seen = shift_slice(box[1], square.left, frame.width)
    return (rows, columns), (rows_seen, columns_seen)


def shift_slice(part: slice, by: int, length: int) -> tuple[slice, slice]:
    start, stop = part.start or 0, part.stop
    first = min(max(start + by, 0), length)
    last = max(min(stop + by, length), first)
    return slice(first, last), slice(first - by - start, last - by - start)


def widen(alpha: Plane) -> Mask:
    """Where the generated product may show around the real one."""
    size = 2 * max(1, round(RIM * len(alpha))) + 1
    mask = Image.fromarray((alpha > 0.02).astype(np.uint8) * 255)
    return np.asarray(mask.filter(ImageFilter.MaxFilter(size))) > 0


class LayersKept:
    """The layers used last, at most `max_bytes` of them; callable from several threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._kept = KeptByPicture[Layers](max_bytes, lambda layers: layers.num_bytes)

    def find(self, cutout: Cutout, side: int, own_side: int) -> Layers:
        return self._kept.find(cutout, (side, own_side), lambda: Layers.of(cutout, side, own_side))
