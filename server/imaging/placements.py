"""Where a creative is shown: proportions, safe areas, where the product stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from server.creative import Box, Placement


@dataclass(frozen=True, slots=True)
class Margins:
    """Shares of the picture's width (left, right) and height (top, bottom)."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Preset:
    """`aspect_ratio` is width over height. The product's square box has sides of `product_size` of
    the picture's shorter side; its middle is at `product_x` of the width, it stands at
    `product_ground` of the height. For scripts from the right the middle is at 1 - `product_x`."""

    aspect_ratio: float
    product_x: float
    product_ground: float
    product_size: float
    margins: Margins
    has_title: bool = True
    has_logo: bool = True

    def find_product_box(self, width: int, height: int, is_mirrored: bool = False) -> Box:
        side = self.product_size * min(width, height)
        middle = (1 - self.product_x if is_mirrored else self.product_x) * width
        return Box(middle - side / 2, self.product_ground * height - side, side, side)

    def find_safe_area(self, width: int, height: int, is_mirrored: bool = False) -> Box:
        left, right = self.margins.left * width, self.margins.right * width
        if is_mirrored:
            left, right = right, left
        top, bottom = self.margins.top * height, self.margins.bottom * height
        return Box(left, top, width - left - right, height - top - bottom)


PRESETS: Mapping[Placement, Preset] = MappingProxyType(
    {
        Placement.SQUARE: Preset(1.0, 0.5, 0.80, 0.56, Margins(0.06, 0.06, 0.06, 0.06)),
        # The apps' own controls take up to a seventh above and a fifth below.
        Placement.STORY: Preset(9 / 16, 0.5, 0.69, 0.66, Margins(0.07, 0.14, 0.07, 0.20)),
        Placement.BANNER: Preset(3.0, 0.81, 0.86, 0.72, Margins(0.045, 0.12, 0.045, 0.12)),
        Placement.THUMBNAIL: Preset(
            1.0, 0.5, 0.84, 0.74, Margins(0.04, 0.04, 0.04, 0.04), has_title=False, has_logo=False
        ),
    }
)


def find_preset(placement: Placement | None, width: int, height: int) -> Preset:
    """That of the placement; without one margins all around, and the product where it always
    stands: in the square in the middle."""
    if placement is not None:
        return PRESETS[placement]
    short = min(width, height)
    x, y = 0.05 * short / width, 0.05 * short / height
    ground = 0.5 + 0.3 * short / height  # of diffusion.composition.CENTRE, in that square
    return Preset(width / height, 0.5, ground, 0.56, Margins(x, y, x, y))
