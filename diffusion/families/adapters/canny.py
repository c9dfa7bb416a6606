"""Edges of a packshot, as ControlNets for canny edges were trained on them: Canny (1986).

All numbers up to the gradient are whole ones or have few binary digits, so that float32 is exact,
and two pixels as steep on either side of a border stay as steep.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

BELL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Binomial, the whole-numbered Gaussian; its variance is one pixel."""

LOW, HIGH = 100.0, 200.0
"""Of the gradient's length, for pixels of 0..255: an edge is above HIGH somewhere and above LOW
everywhere."""

AHEAD = ((0, 1), (1, 1), (1, 0), (1, -1))
"""Steps down and to the right along a gradient, by its direction in eighths of a turn."""


def find_edges(pixels: Tensor, low: float = LOW, high: float = HIGH) -> Tensor:
    """[n, 3, H, W] in [-1, 1] → white edges on black [n, 3, H, W] in 0..1."""
    codes = ((pixels.float() + 1) * 127.5).round()
    bell = codes.new_tensor(BELL)
    length, direction = _slope(_filter(codes, bell, bell))
    crest = _is_crest(length, direction) * length
    edges = connect(crest > low, crest > high)
    return edges.float().expand(-1, 3, -1, -1)


def _slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """Length and direction, 0..3 in eighths of a turn, of the steepest colour's gradient, by Sobel:
    [n, 1, H, W] each."""
    smooth, difference = x.new_tensor([1.0, 2.0, 1.0]), x.new_tensor([-1.0, 0.0, 1.0])
    right, down = _filter(x, smooth, difference), _filter(x, difference, smooth)
    length, steepest = torch.hypot(right, down).max(dim=1, keepdim=True)
    right, down = right.gather(1, steepest), down.gather(1, steepest)
    eighths = (torch.atan2(down, right) * (4 / math.pi)).round()
    return length, eighths.long() % 4


def _filter(x: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Each colour by itself with column ⊗ row; what is beyond the border is like the border."""
    kernel = torch.outer(column, row).expand(x.shape[1], 1, -1, -1)
    reach = len(row) // 2
    return F.conv2d(F.pad(x, (reach,) * 4, mode="replicate"), kernel, groups=x.shape[1])


def _is_crest(length: Tensor, direction: Tensor) -> Tensor:
    """Where the slope is steeper than ahead and behind. Of two as steep the farther is the crest,
    so that lines are one pixel wide."""
    ahead = torch.cat([_shift(length, y, x) for y, x in AHEAD], dim=1).gather(1, direction)
    behind = torch.cat([_shift(length, -y, -x) for y, x in AHEAD], dim=1).gather(1, direction)
    return (length > ahead) & (length >= behind)


def _shift(x: Tensor, down: int, right: int) -> Tensor:
    """What stands that many places further, one at most; nothing beyond the border."""
    height, width = x.shape[-2:]
    return F.pad(x, (1,) * 4)[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def connect(weak: Tensor, strong: Tensor) -> Tensor:
    """The weak pixels that hang together with a strong one, over sides or corners.

    Components by hooking and jumping (Shiloach & Vishkin, 1982): each root joins the largest root
    beside its pixels, then each pixel its root's, in about log(pixels) rounds however long a line.
    """
    root = torch.arange(weak.numel(), device=weak.device).reshape(weak.shape)
    while True:
        beside = F.max_pool2d(torch.where(weak, root, -1).double(), 3, stride=1, padding=1).long()
        beside = torch.where(weak, beside, root)
        joined = root.flatten().scatter_reduce(0, root.flatten(), beside.flatten(), "amax")
        joined = joined[joined].reshape(weak.shape)
        if torch.equal(joined, root):
            break
        root = joined
    is_strong = torch.zeros_like(weak.flatten(), dtype=torch.uint8)
    is_strong = is_strong.scatter_reduce(0, root.flatten(), strong.flatten().byte(), "amax")
    return weak & (is_strong[root] > 0)
