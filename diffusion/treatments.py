"""Treatments: renderings that can be computed from any packshot and keep its identity."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from diffusion.composition import Pixels, Plane, as_share, resize, to_linear, to_srgb
from diffusion.palettes import Palette, channels, mix

TREATMENTS = ("natural", "flat", "outlined", "duotone", "watercolour")

INK = Palette("ink", "#fdf8ef", "#e6ddd0", "#8795ab", "#27314a", "#141a2b", "#e0a458")


def apply_treatment(rgba: Pixels, treatment: str, palette: Palette | None = None) -> Pixels:
    """A packshot [H, W, 4] in another rendering, same shape; without a palette, in ink on paper."""
    if treatment not in _RENDERINGS:
        raise ValueError(f"no treatment {treatment!r}: choose one of {', '.join(TREATMENTS)}")
    return _RENDERINGS[treatment](rgba, palette or INK)


def render_natural(rgba: Pixels, palette: Palette) -> Pixels:
    """The packshot as it is."""
    return rgba.copy()


def render_flat(rgba: Pixels, palette: Palette) -> Pixels:
    """A few clean colours, without shading."""
    image = Image.fromarray(fill_hidden(rgba)[..., :3])
    smooth = image.filter(ImageFilter.MedianFilter(odd(0.02 * max(rgba.shape))))
    few = smooth.quantize(7, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
    rgb = saturate(np.asarray(few.convert("RGB")), 1.18)
    edges = Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(0.6))  # steps, not stairs
    return join(np.asarray(edges), rgba[..., 3])


def render_outlined(rgba: Pixels, palette: Palette) -> Pixels:
    """A sticker: a white rim with a thin line around it."""
    side = max(rgba.shape)
    product = inset(rgba, 0.87)
    alpha = as_share(product[..., 3])
    rim, line = widen(alpha, 0.028 * side), widen(alpha, 0.042 * side)
    around = np.array(channels(palette.deep), np.float32)
    rgb = over(around, np.full(3, 255, np.float32), rim)
    rgb = over(rgb, product[..., :3].astype(np.float32), alpha)
    return join(rgb, line * 255)


def render_duotone(rgba: Pixels, palette: Palette) -> Pixels:
    """Printed in two inks of the palette."""
    grey = fill_hidden(rgba)[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    shown = grey[rgba[..., 3] > 128]
    low, high = np.percentile(shown, (2, 98)) if len(shown) else (0.0, 255.0)
    tone = np.asarray((grey - low) / max(float(high - low), 32.0), np.float32)
    dark, colour, paper = (
        to_linear(np.array(channels(ink), np.uint8))
        for ink in (mix(palette.night, palette.deep, 0.55), palette.main, palette.light)
    )
    # Two inks on paper: the coloured one first, the dark one over it.
    inked = over(dark, colour, np.clip(tone * 2, 0, 1))
    rgb = over(inked, paper, np.clip(tone * 2 - 1, 0, 1))
    return join(to_srgb(rgb), rgba[..., 3])


def render_watercolour(rgba: Pixels, palette: Palette) -> Pixels:
    """Washes with wandering edges, dark where the pigment dried, on grained paper."""
    side = max(rgba.shape)
    product = wander(inset(fill_hidden(rgba), 0.94), 0.014 * side)
    alpha = as_share(product[..., 3])
    wash = Image.fromarray(product[..., :3]).filter(ImageFilter.MedianFilter(odd(0.025 * side)))
    wash = wash.filter(ImageFilter.GaussianBlur(0.008 * side))
    rgb = as_share(saturate(np.asarray(wash), 1.12))
    height, width = alpha.shape
    bloom = noise(height, width, 7, 1) * 0.6 + noise(height, width, 17, 2) * 0.4
    grain = noise(height, width, 64, 3)
    dried = np.clip(alpha - blur(alpha, 0.02 * side), 0, 1)
    pigment = 0.86 + 0.20 * bloom + 0.05 * grain + 0.8 * dried
    paint = 1 - (1 - rgb) * pigment[..., None]  # more pigment takes away more light
    bleed = np.maximum(alpha * 0.97, 0.45 * blur(alpha, 0.016 * side))
    soft = np.clip(blur(bleed, 0.004 * side) * (1 + 0.04 * grain), 0, 1)
    return join(np.clip(paint, 0, 1) * 255, soft * 255)


_RENDERINGS: dict[str, Callable[[Pixels, Palette], Pixels]] = {
    "natural": render_natural,
    "flat": render_flat,
    "outlined": render_outlined,
    "duotone": render_duotone,
    "watercolour": render_watercolour,
}


def odd(size: float) -> int:
    """The filter size in pixels nearest to `size`: odd and at least 3."""
    return max(3, 2 * round((size - 1) / 2) + 1)


def join(rgb: NDArray[Any], alpha: NDArray[Any]) -> Pixels:
    """Colours [H, W, 3] and alpha [H, W], both 0..255, as one picture."""
    return np.asarray(np.rint(np.dstack((rgb, alpha))), np.uint8)


def over(below: Plane, above: Plane, share: Plane) -> Plane:
    """`above` on `below` (colours of one unit, [3] or [H, W, 3]) by a share [H, W] in 0..1."""
    return np.asarray(below + (above - below) * share[..., None], np.float32)


def saturate(rgb: Pixels, factor: float) -> Pixels:
    grey = rgb.mean(axis=-1, keepdims=True)
    return np.asarray(np.clip(np.rint(grey + (rgb - grey) * factor), 0, 255), np.uint8)


def blur(plane: NDArray[Any], sigma: float) -> Plane:
    """Gaussian blur of [H, W] in 0..1; `sigma` in pixels."""
    image = Image.fromarray(np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8))
    return as_share(np.asarray(image.filter(ImageFilter.GaussianBlur(sigma))))


def widen(alpha: Plane, reach: float) -> Plane:
    """Alpha [H, W] grown by about `reach` pixels, with a smooth outline."""
    grown = blur(alpha, reach * 0.75)
    return np.asarray(np.clip((grown - 0.06) * max(4.0, reach * 1.2), 0, 1), np.float32)


def fill_hidden(rgba: Pixels) -> Pixels:
    """Gives transparent pixels the colours around them, so that filters don't pull in black."""
    sigma = max(rgba.shape) / 40
    image = Image.fromarray(rgba).convert("RGBa").filter(ImageFilter.GaussianBlur(sigma))
    around = np.asarray(image, np.float32)
    colour = around[..., :3] * 255 / np.maximum(around[..., 3:], 1)
    hidden = 1 - as_share(rgba[..., 3:])
    shown = rgba[..., :3].astype(np.float32)
    mean = shown[rgba[..., 3] > 128].mean(axis=0) if (rgba[..., 3] > 128).any() else 255.0
    colour = np.where(around[..., 3:] > 2, np.clip(colour, 0, 255), mean)
    return join(shown + (colour - shown) * hidden, rgba[..., 3])


def inset(rgba: Pixels, share: float) -> Pixels:
    """The picture shrunk to `share` of its size about its centre, on the same canvas."""
    height, width = rgba.shape[:2]
    small = resize(rgba, round(width * share), round(height * share))
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    canvas = np.zeros_like(rgba)
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def noise(height: int, width: int, cells: int, seed: int) -> Plane:
    """Smooth noise [H, W] in about -1..1; the same picture at any size."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, (cells, cells)).astype(np.float32)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)


def wander(rgba: Pixels, reach: float) -> Pixels:
    """Moves every pixel by up to about `reach` along smooth noise."""
    height, width = rgba.shape[:2]
    dy, dx = (noise(height, width, 14, seed) * reach for seed in (4, 5))
    rows = np.clip(np.rint(np.arange(height)[:, None] + dy), 0, height - 1).astype(np.int32)
    columns = np.clip(np.rint(np.arange(width) + dx), 0, width - 1).astype(np.int32)
    return rgba[rows, columns]
