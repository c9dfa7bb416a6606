"""The creative: generated surroundings with the product's own pixels over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.core import Mode, Pixels
from server.creative import Box
from server.imaging.frame import Frame, Square, find_middle, find_size
from server.imaging.layers import Layers, LayersKept, Placed, put_in
from server.imaging.surroundings import fill, show

LAYERS = LayersKept()


@dataclass(frozen=True, slots=True)
class Composition:
    """A creative: its pixels [height, width, 3], the picture [h, w, 3] that it was made of, and
    where the product is.

    `layers` are the packshot's, None where there is none. Where its own pixels were put there, that
    was over these `surroundings` [S, S, 3] in the frame's square; else the product was drawn anew.
    """

    pixels: Pixels
    generated: Pixels
    frame: Frame
    product: Box
    layers: Layers | None = None
    surroundings: Pixels | None = None


def compose(pixels: Pixels, cutout: NDArray[np.uint8], side: int, mode: Mode) -> Pixels:
    """The creative in the proportions that the picture has, its longest side being `side`."""
    height, width = pixels.shape[:2]
    frame = Frame.around(*find_size(side, width / height))
    return compose_in(pixels, cutout, frame, mode).pixels


def compose_in(
    pixels: Pixels, cutout: NDArray[np.uint8] | None, frame: Frame, mode: Mode
) -> Composition:
    """A generated picture [h, w, 3] with its product in the middle square, and the cut-out packshot
    [H, W, 4] of that product, if it has one → the creative.

    In PRESERVE the product is pasted at its own resolution; where it is opaque its codes are the
    packshot's. In other modes it is part of the picture, which therefore is never mirrored.
    """
    own = find_middle(pixels.shape[1], pixels.shape[0])
    if cutout is None:
        return Composition(show(pixels, own, frame), pixels, frame, find_place(frame))
    layers = LAYERS.find(cutout, frame.square.side, own.side)
    product = as_box(layers.placed.put_in(frame))
    if mode is not Mode.PRESERVE:
        return Composition(show(pixels, own, frame), pixels, frame, product, layers)
    emptied = empty(pixels, own, layers.hole)
    if frame.is_mirrored:
        emptied = emptied[:, ::-1]
    creative = put_in(layers.overlay, frame).put_over(show(emptied, own, frame))
    return Composition(creative, pixels, frame, product, layers, emptied[own.slices])


def empty(pixels: Pixels, own: Square, hole: NDArray[np.bool_]) -> Pixels:
    """The picture without its product."""
    emptied = pixels.copy()
    emptied[own.slices] = fill(pixels[own.slices], hole)
    return emptied


def as_box(placed: Placed) -> Box:
    rows, columns = placed.box
    sides = columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
    return Box(*map(float, sides))


def find_place(frame: Frame) -> Box:
    """Where a product stands of which no packshot tells the proportions."""
    side = frame.size * min(frame.width, frame.height)
    return Box(frame.x * frame.width - side / 2, frame.ground * frame.height - side, side, side)
