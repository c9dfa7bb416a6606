"""The creative: generated surroundings with the product's own pixels over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.composition import find_box, fit
from server.core import Mode, Pixels
from server.creative import Box
from server.imaging.frame import Frame, Square, find_middle, find_size
from server.imaging.layers import Layers, LayersKept, put_in
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
    product = find_place(frame, layers.placed.alpha)
    if mode is not Mode.PRESERVE:
        return Composition(show(pixels, own, frame), pixels, frame, product, layers)
    emptied = empty(pixels, own, layers.hole)
    if frame.is_mirrored:
        emptied = emptied[:, ::-1]
    creative = put_in(layers.overlay, frame).put_over(show(emptied, own, frame))
    return Composition(creative, pixels, frame, product, layers, emptied[own.slices])


def compose_on_white(packshot: NDArray[np.uint8], frame: Frame) -> Composition:
    """A packshot [H, W, 3 or 4] alone, where a creative has its product."""
    square, whole = frame.square, np.asarray(Image.fromarray(packshot).convert("RGBA"))
    product, (left, top) = fit(whole, square.side)
    shown = Image.fromarray(product)
    white = Image.new("RGB", (frame.width, frame.height), "white")
    white.paste(shown, (square.left + left, square.top + top), shown)
    pixels = np.asarray(white)
    return Composition(pixels, pixels, frame, find_place(frame, product[..., 3]))


def empty(pixels: Pixels, own: Square, hole: NDArray[np.bool_]) -> Pixels:
    """The picture without its product."""
    emptied = pixels.copy()
    emptied[own.slices] = fill(pixels[own.slices], hole)
    return emptied


def find_place(frame: Frame, alpha: NDArray[np.uint8] | None = None) -> Box:
    """Where a product of this alpha [h, w] stands, in thousandths of pixels: by the box the frame
    can be found again. One of which nothing tells the proportions takes all of its square."""
    side = frame.size * min(frame.width, frame.height)
    width = height = side
    if alpha is not None and alpha.any():
        rows, columns = (part.stop - part.start for part in find_box(alpha > 0))
        width, height = (side * length / max(rows, columns) for length in (columns, rows))
    left, top = frame.x * frame.width - width / 2, frame.ground * frame.height - height
    return Box(*(round(length, 3) for length in (left, top, width, height)))
