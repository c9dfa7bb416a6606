"""Where the product stands, and how its pixels are put there.

Used alike for training pictures at 128 px and for pasting the product back at full resolution.
Images are uint8 RGB(A) [H, W, 3 or 4]; alpha and shadow are float32 [side, side] in 0..1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Placement:
    """The product's square box, in fractions of the frame; it stands on the lower edge."""

    x: float = 0.5
    y: float = 0.52
    size: float = 0.56

    @property
    def ground(self) -> float:
        """The line that the product stands on, from the top."""
        return self.y + self.size / 2


CENTRE = Placement()


def _srgb_to_linear() -> Plane:
    c = np.arange(256, dtype=np.float32) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _linear_to_srgb() -> Pixels:
    # 16 bits tell the darkest two sRGB codes apart by 20 steps: encoding is exact to the code.
    c = np.arange(65536, dtype=np.float64) / 65535
    encoded = np.where(c <= 0.0031308, c * 12.92, 1.055 * c ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), np.uint8)


_LINEAR = _srgb_to_linear()
_ENCODED = _linear_to_srgb()


def to_linear(rgb: Pixels) -> Plane:
    """sRGB codes -> linear light in 0..1, same shape."""
    return np.asarray(_LINEAR.take(rgb), np.float32)


def to_srgb(linear: Plane) -> Pixels:
    """Linear light in 0..1 -> sRGB codes; exact inverse of `to_linear` on its outputs."""
    steps = (np.clip(linear, 0, 1) * np.float32(65535) + np.float32(0.5)).astype(np.uint16)
    return np.asarray(_ENCODED.take(steps), np.uint8)


def as_share(codes: Pixels) -> Plane:
    """0..255 -> 0..1, same shape."""
    return np.asarray(codes / np.float32(255), np.float32)


def crop_to_product(rgba: Pixels, threshold: int = 8) -> Pixels:
    """The part of [H, W, 4] that can be seen; ValueError where nothing can."""
    seen = rgba[..., 3] > threshold
    if not seen.any():
        raise ValueError("the packshot is empty: every pixel is transparent")
    return rgba[find_box(seen)]


def resize(rgba: Pixels, width: int, height: int) -> Pixels:
    """Resamples premultiplied colour, so that hidden pixels do not tint the edges."""
    image = Image.fromarray(rgba).convert("RGBa")
    # Hamming's weights are never negative: no light rim where a product ends, as Lanczos leaves.
    return np.asarray(image.resize((width, height), Image.Resampling.HAMMING).convert("RGBA"))


def fit(
    packshot: Pixels, side: int, placement: Placement = CENTRE
) -> tuple[Pixels, tuple[int, int]]:
    """A packshot [H, W, 4] as large as it is in a frame, and its upper left corner there."""
    product = crop_to_product(packshot)
    box = placement.size * side
    scale = box / max(product.shape[:2])
    height, width = (max(1, round(length * scale)) for length in product.shape[:2])
    top = round(placement.ground * side) - height
    left = round(placement.x * side - width / 2)
    return resize(product, width, height), (left, top)


def place(packshot: Pixels, side: int, placement: Placement = CENTRE) -> tuple[Pixels, Plane]:
    """Puts a packshot [H, W, 4] into an empty frame.

    Returns its straight (not premultiplied) rgb [side, side, 3] and its alpha [side, side].
    """
    product, (left, top) = fit(packshot, side, placement)
    height, width = product.shape[:2]
    canvas = np.zeros((side, side, 4), np.uint8)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, side), min(left + width, side)
    if y0 < y1 and x0 < x1:
        canvas[y0:y1, x0:x1] = product[y0 - top : y1 - top, x0 - left : x1 - left]
    return canvas[..., :3], as_share(canvas[..., 3])


def place_in(packshot: Pixels, width: int, height: int) -> tuple[Pixels, Plane]:
    """The same in the middle of a frame of any proportions: rgb [height, width, 3] and alpha."""
    side = min(width, height)
    rgb, alpha = place(packshot, side)
    top, left = (height - side) // 2, (width - side) // 2
    around = ((top, height - side - top), (left, width - side - left))
    return np.pad(rgb, (*around, (0, 0))), np.pad(alpha, around)


def place_on_white(packshot: Pixels, side: int) -> tuple[Pixels, Plane]:
    """A packshot [H, W, 4] alone, placed as in a creative: rgb on white [side, side, 3] and alpha
    [side, side]; what encoders and generator are shown of a product."""
    rgb, alpha = place(packshot, side)
    white = rgb * alpha[..., None] + 255 * (1 - alpha[..., None])
    return np.rint(white).astype(np.uint8), alpha


def contact_shadow(alpha: Plane, strength: float = 0.55) -> Plane:
    """What is left of the light on the ground: 1 away from the product, less beneath it.

    Where the product's underside is near the ground the shadow is dark and narrow; a wide and
    faint one follows its whole width.
    """
    side = alpha.shape[0]
    solid = alpha > 0.5
    columns = solid.any(axis=0)
    if not columns.any():
        return np.ones_like(alpha)
    bottom = side - np.argmax(solid[::-1], axis=0)  # per column, first row below the product
    ground = int(bottom[columns].max())
    gap = np.where(columns, ground - bottom, np.inf) / side
    near = _spread(np.exp(-gap / 0.025), 0.012 * side)
    wide = _spread(np.exp(-gap / 0.15), 0.045 * side)
    below = (np.arange(side) + 0.5 - ground) / side
    core = np.exp(-0.5 * (below / 0.011) ** 2)
    soft = np.exp(-0.5 * ((below - 0.01) / 0.03) ** 2)
    shade = strength * (np.outer(core, near) + 0.55 * np.outer(soft, wide))
    return (1 - np.clip(shade, 0, 0.85)).astype(np.float32)


def _spread(profile: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    reach = max(1, round(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(profile, reach)
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a product does to any background [side, side, 3]: in its box, this share of the light
    stays [h, w, 1], and this light is added [h, w, 3]."""

    box: tuple[slice, slice]
    share: Plane
    light: Plane

    @classmethod
    def of(cls, rgb: Pixels, alpha: Plane, shadow: Plane | None = None) -> "Overlay":
        lit: Plane = np.ones_like(alpha) if shadow is None else shadow
        touched = (alpha > 0) | (lit < 1)
        # The rest comes out as it went in: linear light and back is exact.
        box = find_box(touched) if touched.any() else (slice(0), slice(0))
        cover: Plane = alpha[box][..., None]
        return cls(box, lit[box][..., None] * (1 - cover), to_linear(rgb[box]) * cover)

    @property
    def num_bytes(self) -> int:
        return self.share.nbytes + self.light.nbytes

    def put_over(self, background: Pixels) -> Pixels:
        mixed = background.copy()
        light = to_linear(mixed[self.box])
        light *= self.share
        light += self.light
        mixed[self.box] = to_srgb(light)
        return mixed


def composite(background: Pixels, rgb: Pixels, alpha: Plane, shadow: Plane | None = None) -> Pixels:
    """Product over shaded background, mixed in linear light, as rgb [side, side, 3].

    Where alpha is 1 the product's own codes come out unchanged.
    """
    return Overlay.of(rgb, alpha, shadow).put_over(background)


def find_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The rows and columns of [H, W] between which all of it lies; there must be some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
