"""Letters that were laid over the background of a picture: watermarks, prices, addresses.

A row of small parts beside the product, in one ink and of one size, on one line at any angle. What
is printed on the product is the product's own and never looked at; so letters that lie entirely
over it are not found: for those a mask must come along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffusion.cutout import border_colour, flood_from_border, grow
from server.core import Pixels
from server.enhancement.nouns import Mask, Measure, Picture

SIDE = 768  # pixels, the longest of the copy that is looked at
DIFFERENT = 10  # codes from the background: letters may be faint
SMALLEST, LARGEST = 0.008, 0.14  # of the frame, the larger side of a letter
MAX_PARTS = 400
MIN_LETTERS = 5
ALIKE = 1.9  # the largest letter of a line, by the smallest that reach as high
INK = 30.0  # codes by which letters of one ink may differ
NEAR = 2.2  # letters from one to the next
REACH = 5.0  # letters beyond the ends of a line, for those that touch each other
STRAIGHT = 0.3  # of a letter, off the line
MIN_SHARE = 0.003  # of the frame that a line of letters covers with its box


@dataclass(frozen=True, slots=True)
class Parts:
    """What stands apart: boxes [n, 4] as top, left, bottom, right, ink [n, 3], and the number of
    each part in `labels` [h, w], where 0 is none."""

    labels: NDArray[np.int32]
    numbers: NDArray[np.int32]
    boxes: NDArray[np.float64]
    ink: NDArray[np.float64]

    @property
    def centres(self) -> NDArray[np.float64]:
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def sizes(self) -> NDArray[np.float64]:
        return np.asarray((self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1))


def find_overlay(picture: Picture) -> Mask | None:
    """Where letters lie, True [H, W] with a rim around them; None where none were found."""
    small, is_open = look(picture)
    if is_open is None:
        return None
    outside = flood_from_border(is_open)
    parts = find_parts(~outside, small)
    lines = find_lines(parts)
    if not lines:
        return None
    found = np.zeros_like(outside)
    for line in lines:
        found |= np.isin(parts.labels, parts.numbers[line]) | find_rest(parts, line, small)
    mask = Image.fromarray(grow(found, 2).astype(np.uint8) * 255)
    height, width = picture.size
    return np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)) > 0


def judge_overlay(mask: Mask | None) -> Measure:
    if mask is None:
        return Measure(0.0, False, "no letters beside the product")
    share = float(mask.mean())
    words = f"letters on {share:.1%} of the picture"
    return Measure(float(np.clip(0.3 + 10 * share, 0, 1)), True, words)


def look(picture: Picture) -> tuple[Pixels, Mask | None]:
    """A copy of bounded size, and where it is plain background; None where there is none."""
    image = Image.fromarray(picture.rgb)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    small = np.asarray(image)
    if picture.is_cut_out and picture.alpha is not None:
        alpha = Image.fromarray(picture.alpha).resize(image.size, Image.Resampling.BOX)
        return small, np.asarray(alpha) < DIFFERENT
    colour = border_colour(small)
    if colour is None:
        return small, None
    return small, np.abs(small.astype(np.int16) - colour).max(axis=-1) < DIFFERENT


def find_parts(mask: Mask, small: Pixels) -> Parts:
    """Those of a letter's size, at most so many."""
    labels = label(mask)
    count = int(labels.max())
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    rows, columns = np.nonzero(labels)
    number = labels[rows, columns] - 1
    boxes = np.full((count, 4), np.inf)
    boxes[:, 2:] = -np.inf
    np.minimum.at(boxes[:, 0], number, rows)
    np.minimum.at(boxes[:, 1], number, columns)
    np.maximum.at(boxes[:, 2], number, rows + 1)
    np.maximum.at(boxes[:, 3], number, columns + 1)
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    frame = max(mask.shape)
    chosen = (sizes >= max(4, SMALLEST * frame)) & (sizes <= LARGEST * frame) & (area >= 6)
    chosen = np.flatnonzero(chosen)[:MAX_PARTS]
    ink = np.array([find_ink(small, labels == each + 1, boxes[each]) for each in chosen])
    return Parts(labels, (chosen + 1).astype(np.int32), boxes[chosen], ink.reshape(-1, 3))


def find_ink(small: Pixels, part: Mask, box: NDArray[np.float64]) -> NDArray[np.float64]:
    """The colour of a part away from its edge, as far as it is thick enough."""
    top, left, bottom, right = box.astype(int)
    inside = small[top:bottom, left:right][part[top:bottom, left:right]]
    background = inside.max() if len(inside) == 0 else np.median(small[:1].reshape(-1, 3), axis=0)
    far = np.abs(inside.astype(np.float64) - background).sum(axis=1)
    return np.asarray(np.median(inside[far >= np.percentile(far, 60)], axis=0))


def find_lines(parts: Parts) -> list[list[int]]:
    """Parts that stand in lines as letters do, each line from one end to the other."""
    centres, sizes = parts.centres, parts.sizes
    lines = []
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    alike = np.maximum(sizes[:, None], sizes[None]) <= ALIKE * np.minimum(sizes[:, None], sizes)
    inked = np.abs(parts.ink[:, None] - parts.ink[None]).max(axis=-1) <= INK
    mates = alike & inked
    near = mates & (gaps <= NEAR * np.maximum(sizes[:, None], sizes))
    used: set[int] = set()
    for first, second in np.argwhere(np.triu(near, 1)):
        if first in used and second in used:
            continue
        line = follow(int(first), int(second), centres, sizes, mates)
        if len(line) >= MIN_LETTERS and covers_enough(parts, line):
            lines.append(line)
            used.update(line)
    return lines


def follow(
    first: int,
    second: int,
    centres: NDArray[np.float64],
    sizes: NDArray[np.float64],
    mates: Mask,
) -> list[int]:
    """All mates of two parts on the line through them that can be reached letter by letter."""
    size = max(sizes[first], sizes[second])
    ahead = (centres[second] - centres[first]) / np.linalg.norm(centres[second] - centres[first])
    offset = centres - centres[first]
    along, across = offset @ ahead, np.abs(offset @ np.array([-ahead[1], ahead[0]]))
    on_line = np.flatnonzero((across <= STRAIGHT * size) & mates[first])
    order = on_line[np.argsort(along[on_line])]
    breaks = np.flatnonzero(np.diff(along[order]) > NEAR * size) + 1
    runs = np.split(order, breaks)
    return next((run.tolist() for run in runs if first in run), [])


def find_rest(parts: Parts, line: list[int], small: Pixels) -> Mask:
    """What else stands on a line in its ink: dots, and letters that touch each other."""
    centres, size = parts.centres[line], float(parts.sizes[line].max())
    first, last = centres[0], centres[-1]
    ahead = (last - first) / np.linalg.norm(last - first)
    rows, columns = np.indices(parts.labels.shape, np.float32)
    down, right = rows - first[0], columns - first[1]
    along, across = down * ahead[0] + right * ahead[1], right * ahead[0] - down * ahead[1]
    length = float(np.linalg.norm(last - first))
    band = (np.abs(across) <= size) & (along >= -REACH * size) & (along <= length + REACH * size)
    ink = np.median(parts.ink[line], axis=0)
    is_inked = np.abs(small - ink).max(axis=-1) <= 2 * INK
    count = int(parts.labels.max()) + 1
    area = np.bincount(parts.labels.ravel(), minlength=count)
    inside = np.bincount(parts.labels[band], minlength=count)
    inked = np.bincount(parts.labels[is_inked], minlength=count)
    chosen = (inside >= 0.95 * area) & (inked >= 0.2 * area) & (area > 0)
    chosen[0] = False
    return np.asarray(chosen[parts.labels])


def covers_enough(parts: Parts, line: list[int]) -> bool:
    boxes = parts.boxes[line]
    height, width = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
    return bool(height * width >= MIN_SHARE * parts.labels.size)


def label(mask: Mask) -> NDArray[np.int32]:
    """Numbers connected parts (8 neighbours) from 1, 0 where there is none.

    Runs of each row are joined with those that they touch in the row above.
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
    for row in range(1, mask.shape[0]):
        above, here = int(first_of_row[row - 1]), int(first_of_row[row])
        end_above, end = here, int(first_of_row[row + 1])
        while above < end_above and here < end:
            if starts[above] <= stops[here] and starts[here] <= stops[above]:
                parent[root(here)] = root(above)
            if stops[above] < stops[here]:
                above += 1
            else:
                here += 1
    roots = np.array([root(run) for run in range(len(parent))], np.int64)
    _, number = np.unique(roots, return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    for run in range(len(rows)):
        labels[rows[run], starts[run] : stops[run]] = number[run] + 1
    return labels
