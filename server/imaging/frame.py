"""The picture that is wanted, and where its product stands."""

from __future__ import annotations

from dataclasses import dataclass

from diffusion.composition import CENTRE
from server.creative import Box

ROUNDED = 2.0
"""Pixels that a product may be larger than its box, which was rounded to whole ones."""


@dataclass(frozen=True, slots=True)
class Square:
    """In pixels from a picture's upper left corner; it may reach beyond the picture."""

    left: int
    top: int
    side: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of `width` x `height` pixels.

    The product's square box is `size` of the shorter side; its middle is at `x` of the width, and
    it stands at `ground` of the height. Mirrored are the surroundings, never the product, and not
    its place: `x` is where it stands in the finished picture.
    """

    width: int
    height: int
    x: float
    ground: float
    size: float
    is_mirrored: bool = False

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise ValueError(f"a picture of {self.width} x {self.height} pixels has none")
        if not 0 < self.size <= 1:
            raise ValueError(f"the product's box must be a share of the shorter side: {self.size}")

    @classmethod
    def around(cls, width: int, height: int, *, is_mirrored: bool = False) -> Frame:
        """The product in the middle square, as models make it."""
        middle = find_middle(width, height)
        x = (middle.left + CENTRE.x * middle.side) / width
        ground = (middle.top + CENTRE.ground * middle.side) / height
        return cls(width, height, x, ground, CENTRE.size, is_mirrored)

    @classmethod
    def holding(
        cls,
        box: Box,
        drawn: tuple[int, int],
        shape: float,
        size: tuple[int, int],
        *,
        is_mirrored: bool = False,
    ) -> Frame:
        """A picture of this `size`, its product where a picture `drawn` in the same proportions has
        the box. A product of another `shape`, width over height, is as large as the box allows."""
        side = min(
            max(box.width, box.height),
            (box.width + ROUNDED) / min(1, shape),
            (box.height + ROUNDED) * max(1, shape),
        )
        x, ground = (box.left + box.width / 2) / drawn[0], box.bottom / drawn[1]
        return cls(*size, x, ground, min(1.0, side / min(drawn)), is_mirrored)

    @property
    def square(self) -> Square:
        """Where a square picture with the product in its middle, as models make it, has to lie for
        that product to stand where it should."""
        side = max(1, round(self.size * min(self.width, self.height) / CENTRE.size))
        left = round(self.x * self.width - CENTRE.x * side)
        return Square(left, round(self.ground * self.height - CENTRE.ground * side), side)


def find_middle(width: int, height: int) -> Square:
    """The largest square in the middle of a picture."""
    side = min(width, height)
    return Square((width - side) // 2, (height - side) // 2, side)


def find_size(longest_side: int, aspect_ratio: float) -> tuple[int, int]:
    """Width and height of these proportions, width over height."""
    if aspect_ratio >= 1:
        return longest_side, max(1, round(longest_side / aspect_ratio))
    return max(1, round(longest_side * aspect_ratio)), longest_side
