"""What a product puts over any picture: made once for a product and a size, and kept a while."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from diffusion.composition import Overlay, contact_shadow, place

RIM = 0.02  # of the frame: how far the generated product is taken away around the real one
MAX_BYTES = 64 * 1024 * 1024

Cutout = NDArray[np.uint8]
Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layers:
    """The product with its shadow, for a picture of [side, side], and the hole [S, S] that the
    generated product leaves in the picture that it is put over."""

    overlay: Overlay
    hole: NDArray[np.bool_]

    @classmethod
    def of(cls, cutout: Cutout, side: int, own_side: int) -> Layers:
        rgb, alpha = place(cutout, side)
        overlay = Overlay.of(rgb, alpha, contact_shadow(alpha))
        return cls(overlay, widen(place(cutout, own_side)[1]))

    @property
    def num_bytes(self) -> int:
        return self.overlay.num_bytes + self.hole.nbytes


def widen(alpha: Plane) -> NDArray[np.bool_]:
    """Where the generated product may show around the real one."""
    size = 2 * max(1, round(RIM * len(alpha))) + 1
    mask = Image.fromarray((alpha > 0.02).astype(np.uint8) * 255)
    return np.asarray(mask.filter(ImageFilter.MaxFilter(size))) > 0


class LayersKept:
    """The layers used last, at most `max_bytes` of them; callable from several threads.

    A cut-out is known by which array it is, not by what it holds: the entry keeps it alive, so that
    no other can come to be at its place.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[int, int, int], tuple[Cutout, Layers]] = OrderedDict()
        self._num_bytes = 0
        self._lock = Lock()

    def find(self, cutout: Cutout, side: int, own_side: int) -> Layers:
        key = id(cutout), side, own_side
        with self._lock:
            if (known := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return known[1]
        layers = Layers.of(cutout, side, own_side)
        with self._lock:
            if key not in self._kept and layers.num_bytes <= self._max_bytes:
                self._kept[key] = cutout, layers
                self._num_bytes += layers.num_bytes
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._kept.popitem(last=False)[1][1].num_bytes
        return layers
