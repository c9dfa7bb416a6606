"""Which shoppers count as alike while the broad lines of a picture are drawn.

A bucket is one choice on each axis of a look (palette, setting), read from the embedding by how
much it points towards the creatives of each choice; its centroid is the mean of its shoppers, as
long as a usual shopper's embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

FILE = "tastes.safetensors"
FAINTEST = 0.01
"""Of the widest direction of an axis: what is fainter is rounding."""

SHORTEST = 0.5
"""Of a usual length: a shopper of whom less is known belongs to no bucket."""

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class TasteBuckets:
    """`axes`: for each axis what its choices look like [choices, w]; `centroids` [buckets, w], with
    the last axis running fastest."""

    axes: tuple[Vector, ...]
    centroids: Vector

    @classmethod
    def fit(cls, axes: Sequence[Vector], shoppers: Vector) -> TasteBuckets:
        """From the mean embedding of each choice's creatives and many shoppers [n, w].

        A bucket that nobody is in gets the direction of its choices.
        """
        centred = tuple((axis - axis.mean(axis=0)).astype(np.float32) for axis in axes)
        usual = np.median(np.linalg.norm(shoppers, axis=1))
        numbers = _choose(centred, shoppers)
        choices = np.indices([len(axis) for axis in centred]).reshape(len(centred), -1)
        pure = np.sum([axis[chosen] for axis, chosen in zip(centred, choices, strict=True)], axis=0)
        for number in range(len(pure)):
            if (numbers == number).any():
                pure[number] = shoppers[numbers == number].mean(axis=0)
        lengths = np.linalg.norm(pure, axis=1, keepdims=True)
        return cls(centred, (usual * pure / lengths).astype(np.float32))

    @classmethod
    def load(cls, folder: Path) -> TasteBuckets | None:
        """None where the model has none."""
        if not (folder / FILE).exists():
            return None
        tensors = load_file(folder / FILE)
        axes = tuple(tensors[name] for name in sorted(tensors) if name != "centroids")
        return cls(axes, tensors["centroids"])

    def save(self, folder: Path) -> None:
        axes = {f"axis.{number}": axis for number, axis in enumerate(self.axes)}
        save_file({**axes, "centroids": self.centroids}, folder / FILE)

    def __len__(self) -> int:
        return len(self.centroids)

    def find(self, shopper: Vector) -> int | None:
        """The bucket of a shopper [w]; None where too little is known."""
        usual = np.linalg.norm(self.centroids[0])
        if not np.linalg.norm(shopper) >= SHORTEST * usual:
            return None
        return int(_choose(self.axes, shopper[None])[0])

    def find_centroid(self, shopper: Vector) -> Vector | None:
        number = self.find(shopper)
        return None if number is None else self.centroids[number]

    def rank(self, shopper: Vector) -> tuple[list[int], ...]:
        """The choices of each axis, what the shopper [w] likes best first."""
        return tuple(np.argsort(-(axis @ shopper), kind="stable").tolist() for axis in self.axes)

    def steer(self, shopper: Vector, chosen: Sequence[int | None]) -> Vector:
        """The shopper [w] with another choice on each axis that has one: what points along the
        axis gives way to what its usual shoppers have there; everything else stays."""
        moved = shopper.astype(np.float64)
        for choice, span, usual in zip(chosen, self._spans, self._usual, strict=True):
            if choice is not None:
                moved += usual[choice] - span @ moved
        return moved.astype(np.float32)

    @cached_property
    def _spans(self) -> tuple[NDArray[np.float64], ...]:
        """What projects on the differences between the choices of each axis: [w, w]."""
        wide = (axis.astype(np.float64) for axis in self.axes)
        return tuple(np.linalg.pinv(axis, rcond=FAINTEST) @ axis for axis in wide)

    @cached_property
    def _usual(self) -> tuple[NDArray[np.float64], ...]:
        """The mean centroid of each choice, as far as it lies along its axis: [choices, w]."""
        counts = [len(axis) for axis in self.axes]
        centroids = self.centroids.astype(np.float64).reshape(*counts, -1)
        found = []
        for number, span in enumerate(self._spans):
            others = tuple(other for other in range(len(counts)) if other != number)
            found.append(centroids.mean(axis=others) @ span)
        return tuple(found)


def _choose(axes: Sequence[Vector], shoppers: Vector) -> NDArray[np.int64]:
    """[n, w] → bucket of each [n]."""
    number = np.zeros(len(shoppers), np.int64)
    for axis in axes:
        number = number * len(axis) + (shoppers @ axis.T).argmax(axis=1)
    return number
