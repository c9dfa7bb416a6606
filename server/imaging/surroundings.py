"""What is around a product: a hole where a generated one was, and room beyond a picture's edges."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from server.core import Pixels
from server.imaging.frame import Frame, Square

BESIDE, ABOVE = 0.2, 0.2
"""Of the square around a product: how wide the strips at its edges are that have no product."""

NEAR, FAR = 0.04, 0.4
"""Of the square: the distance from a picture's edge over which softness doubles first, and that
from which on nothing single is to be seen."""

NUM_BLURS = 5

Plane = NDArray[np.float32]
Area = tuple[float, float, float, float]
"""Left, top, right and lower edge."""


def show(pixels: Pixels, own: Square, frame: Frame) -> Pixels:
    """The picture with its `own` square where the frame has its: [frame.height, frame.width, 3]."""
    height, width = pixels.shape[:2]
    area = find_area(own, frame)
    if area == (0, 0, frame.width, frame.height) == (0, 0, width, height):
        return pixels
    if min(area) < 0 or area[2] > width or area[3] > height:
        pixels, area = extend(pixels, own, area)
    size = frame.width, frame.height
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, area))


def find_area(own: Square, frame: Frame) -> Area:
    """What of a picture with its `own` square, and beyond its edges, the frame shows."""
    shown = frame.square
    left = own.left - shown.left * own.side / shown.side
    top = own.top - shown.top * own.side / shown.side
    right = left + frame.width * own.side / shown.side
    lower = top + frame.height * own.side / shown.side
    return round(left, 6), round(top, 6), round(right, 6), round(lower, 6)


def extend(pixels: Pixels, own: Square, area: Area) -> tuple[Pixels, Area]:
    """The picture with room around it, and where the area lies in that.

    Beside and above it goes on with what its rows have in common, such as wall, horizon and floor;
    what is beside those comes back mirrored and fades away. Below, the last row goes on.
    """
    height, width = pixels.shape[:2]
    left, top = max(0, math.ceil(-area[0])), max(0, math.ceil(-area[1]))
    right, lower = max(0, math.ceil(area[2] - width)), max(0, math.ceil(area[3] - height))
    beside = round(BESIDE * own.side)
    strips = own.left + beside, width - own.left - own.side + beside
    columns, x = mirror(width, left, right, strips)
    rows, y = mirror(height, top, lower, (own.top + round(ABOVE * own.side), 1))
    common = find_common(pixels[:, np.r_[: strips[0], width - strips[1] : width]])
    single = pixels[rows[:, None], columns].astype(np.int16) - common[rows, None]
    distance = np.hypot(x, y[:, None]) / own.side
    is_below = np.arange(len(rows))[:, None] >= top + height
    fading = np.where(is_below, x / own.side, distance)
    faded = soften(single, distance, own.side) * np.clip(1 - fading / FAR, 0, 1)[..., None]
    nearest = np.clip(np.arange(-top, height + lower), 0, height - 1)
    canvas = np.rint(np.clip(common[nearest, None] + faded, 0, 255)).astype(np.uint8)
    canvas[top : top + height, left : left + width] = pixels
    return canvas, (area[0] + left, area[1] + top, area[2] + left, area[3] + top)


def find_common(pixels: Pixels) -> Pixels:
    """What the pixels of each row have in common, but for thin lines: [H, 3]."""
    rows = np.median(pixels, axis=1, keepdims=True).astype(np.uint8)
    size = 2 * round(0.03 * len(rows)) + 1
    smooth = Image.fromarray(rows).filter(ImageFilter.MedianFilter(size))
    return np.asarray(smooth.filter(ImageFilter.GaussianBlur(0.01 * len(rows))))[:, 0]


def mirror(
    length: int, before: int, after: int, strips: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For `length` pixels with some more before and after: which one to take, and how far out it
    is. What is outside shows the strips at the ends, there and back again."""
    at = np.arange(-before, length + after)
    out = np.maximum(np.maximum(-at, at - length + 1), 0)
    first, last = (max(1, min(length, strip)) for strip in strips)
    found = np.where(at < 0, fold(out, first), np.where(out > 0, length - 1 - fold(out, last), at))
    return found, out


def fold(out: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """1, 2, 3, … → 0, 1, …, width - 1, width - 1, …, 0, 0, 1, …"""
    turn = (out - 1) % (2 * width)
    return np.minimum(turn, 2 * width - 1 - turn)


def soften(
    difference: NDArray[np.int16], distance: NDArray[np.float64], side: int
) -> NDArray[np.float32]:
    """Out of focus where the distance [H, W], in sides, is above zero: the further the more."""
    image = Image.fromarray((np.clip(difference, -128, 127) + 128).astype(np.uint8))
    mixed = difference.astype(np.float32)
    depth = np.log2(1 + distance / NEAR)
    for step in range(NUM_BLURS):
        share = np.clip(depth - step, 0, 1).astype(np.float32)[..., None]
        if not share.any():
            break
        blurred = image.filter(ImageFilter.GaussianBlur(0.01 * side * 2**step))
        mixed += share * (np.asarray(blurred, np.float32) - 128 - mixed)
    return mixed


def fill(pixels: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    """Fills the hole [S, S] with what is around it, the nearest first.

    Pull-push (Gortler et al., The Lumigraph, 1996, section 3.4).
    """
    side = len(pixels)
    room = (1 << (side - 1).bit_length()) - side  # its halves must be whole: nothing is known there
    known = np.where(hole, 0.0, 1.0).astype(np.float32)[..., None]
    around = ((0, room), (0, room), (0, 0))
    filled = pull_push(np.pad(pixels * known, around), np.pad(known, around))[:side, :side]
    return np.where(hole[..., None], np.clip(np.rint(filled), 0, 255), pixels).astype(np.uint8)


def pull_push(colour: Plane, weight: Plane) -> Plane:
    """Weighted colour [S, S, 3] and weight [S, S, 1] → colour everywhere."""
    own = np.asarray(colour / np.maximum(weight, 1e-6), np.float32)
    if len(colour) == 1:
        return own
    coarse = pull_push(halve(colour), halve(weight))
    share = np.minimum(weight, 1.0)
    return np.asarray(share * own + (1 - share) * double(coarse), np.float32)


def halve(plane: Plane) -> Plane:
    """Sums of two by two: slices add up faster than an axis of two is summed."""
    rows = plane[::2] + plane[1::2]
    return np.asarray(rows[:, ::2] + rows[:, 1::2], np.float32)


def double(plane: Plane) -> Plane:
    size = (2 * len(plane), 2 * len(plane))
    channels = (Image.fromarray(c) for c in np.moveaxis(plane, 2, 0))
    return np.stack([np.asarray(c.resize(size, Image.Resampling.BILINEAR)) for c in channels], 2)
