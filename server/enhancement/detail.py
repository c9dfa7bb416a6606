"""How much detail a picture has, and how much of it is grain.

Smooth drawings look blurred to a measure of mean sharpness. What is asked here is how sharp the
sharpest edges are, and how restless the calmest places.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from server.core import Pixels
from server.enhancement.nouns import Mask, Measure, Picture, Plane

MAX_SIDE = 2048  # of the part in the middle that is measured
MIN_EDGES = 50  # pixels on edges, fewer tell nothing
EDGE, FAINT_EDGE = 12.0, 3.0  # codes a pixel; the lower where there are none such
BLUR_FOUND = 0.9  # standard deviation in pixels; sharp edges are read as 0.58 to 0.81
NOISE_FOUND = 2.5  # standard deviation in codes; drawings have at most 2
DETAIL_FOUND = 0.25  # of an edge is lost in a copy of half the size: sharp ones lose 0.32 or more
MIN_SIDE = 200  # pixels, the longest side of what a shop can show
REBLUR = 1.0
MIN_BLOCKS, PARTIAL = 16, 0.6  # fewer tell nothing; the share of those that are partly cut off
CALMEST = 30  # percentile of the blocks by which noise is told
CALM_BIAS = 0.915  # what that percentile reads of Gaussian noise of 1


def show_middle(picture: Picture) -> Pixels:
    """As a shop shows it, at its own scale; only the middle where the picture is huge."""
    height, width = (min(length, MAX_SIDE) for length in picture.size)
    top, left = (picture.size[0] - height) // 2, (picture.size[1] - width) // 2
    middle = np.s_[top : top + height, left : left + width]
    return Picture(
        picture.rgb[middle], None if picture.alpha is None else picture.alpha[middle]
    ).shown()


def to_luma(rgb: Pixels) -> Plane:
    """[H, W, 3] → [H, W] in codes."""
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def slope(luma: Plane) -> Plane:
    """Size of the gradient, in codes a pixel."""
    down, across = np.zeros_like(luma), np.zeros_like(luma)
    down[1:-1] = (luma[2:] - luma[:-2]) / 2
    across[:, 1:-1] = (luma[:, 2:] - luma[:, :-2]) / 2
    return np.hypot(down, across)


def find_edges(steepness: Plane) -> Mask:
    """Away from the frame, where everything ends sharply."""
    steep = float(np.clip(np.percentile(steepness, 99.5) / 4, FAINT_EDGE, EDGE))
    edges = steepness > steep
    edges[:6] = edges[-6:] = False
    edges[:, :6] = edges[:, -6:] = False
    return edges


def measure_blur(luma: Plane) -> Measure:
    """Standard deviation of a Gaussian edge, by how much another blur takes from its slope.

    S. Zhuo and T. Sim, Defocus map estimation from a single image, 2011, section 3; of the
    sharpest tenth of all edges, so that soft shading does not count.
    """
    before = slope(luma)
    edges = find_edges(before)
    if edges.sum() < MIN_EDGES:
        return Measure(0.0, False, "too few edges to tell")
    after = slope(blur(luma, REBLUR))
    ratio = float(np.percentile(before[edges] / np.maximum(after[edges], 1e-3), 90))
    sigma = REBLUR / np.sqrt(max(ratio * ratio - 1, 1e-2))
    score = float(np.clip((sigma - 0.65) / 2.5, 0, 1))
    return Measure(score, sigma >= BLUR_FOUND, f"edges {2.355 * sigma:.1f} px wide")


def measure_resolution(luma: Plane, size: tuple[int, int]) -> Measure:
    """By what edges lose in a copy of half the size, and by the number of pixels there are."""
    longest = max(size)
    if longest < MIN_SIDE:
        words = f"{size[1]} × {size[0]} pixels"
        return Measure(float(np.clip(1.25 - longest / MIN_SIDE, 0, 1)), True, words)
    lost = {factor: _lose(luma, factor) for factor in (2, 3, 4)}
    needed = [
        factor for factor, share in lost.items() if share is not None and share < DETAIL_FOUND
    ]
    if not needed:
        half = lost[2]
        score = 0.0 if half is None else float(np.clip(0.45 - half, 0, 0.2))
        return Measure(score, False, f"{size[1]} × {size[0]} pixels, all of them used")
    factor = max(needed)
    height, width = (round(length / factor) for length in size)
    words = f"no more detail than {width} × {height} pixels hold"
    return Measure(1 - 1 / factor, True, words)


def measure_noise(rgb: Pixels, where: Mask | None = None) -> Measure:
    """Standard deviation of grain, in codes, in the calmest blocks of 8 x 8 pixels `where` it is
    asked for [H, W].

    J. Immerkær, Fast noise variance estimation, 1996, block by block; blocks at either end of the
    range are passed over, since half of their noise is cut off.
    """
    found = [_estimate_noise(rgb[..., channel].astype(np.float32), where) for channel in range(3)]
    known = [sigma for sigma in found if sigma is not None]
    if not known:
        return Measure(0.0, False, "nowhere to measure noise")
    sigma = max(known)
    return Measure(
        float(np.clip(sigma / 40, 0, 1)), sigma >= NOISE_FOUND, f"noise of {sigma:.1f}/255"
    )


def blur(plane: Plane, sigma: float) -> Plane:
    reach = int(np.ceil(3.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    padded = np.pad(plane, reach, "symmetric")
    height, width = plane.shape
    rows = np.zeros((height, padded.shape[1]), np.float32)
    blurred = np.zeros_like(plane)
    for i, weight in enumerate(weights):
        rows += weight * padded[i : i + height]
    for i, weight in enumerate(weights):
        blurred += weight * rows[:, i : i + width]
    return blurred


def _lose(luma: Plane, factor: int) -> float | None:
    """What is lost of edges by going through a copy that is smaller by the factor."""
    steepness = slope(luma)
    edges = find_edges(steepness)
    if edges.sum() < MIN_EDGES:
        return None
    height, width = luma.shape
    few = (max(1, width // factor), max(1, height // factor))
    kind = Image.Resampling.BICUBIC
    copy = Image.fromarray(luma).resize(few, kind).resize((width, height), kind)
    lost = np.abs(luma - np.asarray(copy))[edges]
    return float(np.percentile(lost, 90) / np.percentile(steepness[edges], 90))


def _estimate_noise(plane: Plane, where: Mask | None) -> float | None:
    across = plane[2:] - 2 * plane[1:-1] + plane[:-2]
    response = np.abs(across[:, 2:] - 2 * across[:, 1:-1] + across[:, :-2])
    inside = (plane > 3) & (plane < 252)
    if where is not None:
        inside &= where
    height, width = (length // 8 for length in response.shape)
    shape = (height, 8, width, 8)
    shown = inside[1:-1, 1:-1][: 8 * height, : 8 * width].reshape(shape)
    told = shown.all((1, 3))
    if told.sum() < MIN_BLOCKS:
        # Where noise is so strong that no block is whole, it leaves a part of nearly all.
        told = shown.any((1, 3))
        if told.sum() < MIN_BLOCKS or told.mean() < PARTIAL:
            return None
    blocks = response[: 8 * height, : 8 * width].reshape(shape).mean((1, 3))[told]
    return float(np.percentile(blocks, CALMEST) * np.sqrt(np.pi / 2) / 6 / CALM_BIAS)
