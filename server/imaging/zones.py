"""Rows of words in a part of the picture. Lengths are in pixels; lines begin at the left here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from server.creative import Box, Kind
from server.imaging.captions import Words
from server.imaging.text.breaking import ELLIPSIS, cuts_words
from server.imaging.text.typesetting import Block, Room, fit

# Between an element's edge and its letters where there is a plate, in em.
PADDING_X, PADDING_Y = 0.42, 0.3
SHARES = (1.0, 0.85, 0.72, 0.6)  # of the largest sizes, that rows are tried at
WORD_GAP = 0.036  # of the picture's shorter side
READABLE_PX = 10.0

Anchor = Literal["top", "middle", "bottom"]


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes as shares of the picture's shorter side, and how many lines there may be.

    An amount is never shortened: half of it would be another amount.
    """

    largest: float
    smallest: float
    max_lines: int = 1
    may_shorten: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Words with their box, which holds their padding."""

    words: Words
    block: Block
    box: Box


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of the picture and the rows that stand in it, from above to below."""

    area: Box
    rows: tuple[tuple[Kind, ...], ...]
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class Setter:
    """Sets zones of a picture whose shorter side is `unit`, with rows `row_gap` apart."""

    words: Mapping[Kind, Words]
    scales: Mapping[Kind, Scale]
    unit: float
    row_gap: float

    def set_zone(self, zone: Zone, is_plated: bool) -> list[Placed]:
        """What has room. Rows are made in the order in which kinds matter, and then stacked."""
        rows = [[kind for kind in row if kind in self.words] for row in zone.rows]
        rows = [row for row in rows if row]
        order = sorted(range(len(rows)), key=lambda at: list(self.words).index(rows[at][0]))
        made: dict[int, list[Placed]] = {}
        left = zone.area.height
        for at in order:
            made[at] = self.set_row(rows[at], zone.area.width, left, is_plated)
            if made[at]:
                left -= measure_height(made[at]) + self.row_gap
        return self._stack(zone, [made[at] for at in range(len(rows)) if made[at]])

    def set_row(
        self, row: list[Kind], width: float, height: float, is_plated: bool
    ) -> list[Placed]:
        """Side by side on one baseline, from (0, 0) on: smaller where that makes room for all, and
        without the last ones where not even that does."""
        rows = (self._try_row(row, width, height, is_plated, share) for share in SHARES)
        tried = []
        for placed in rows:
            if len(placed) == len(row):
                return placed
            tried.append(placed)
        return max(tried, key=len)

    def _try_row(
        self, row: list[Kind], width: float, height: float, is_plated: bool, share: float
    ) -> list[Placed]:
        placed: list[Placed] = []
        left = 0.0
        for kind in row:
            block = self._fit(kind, width - left, height, is_plated, share)
            if block is None:
                break
            padding_x, padding_y = find_padding(kind, block.size, is_plated)
            size = block.width + 2 * padding_x, block.height + 2 * padding_y
            top = baseline(placed[0]) - block.ascent - padding_y if placed else 0.0
            placed.append(Placed(self.words[kind], block, Box(left, top, *size)))
            left += size[0] + WORD_GAP * self.unit
        return placed

    def _fit(
        self, kind: Kind, width: float, height: float, is_plated: bool, share: float
    ) -> Block | None:
        scale = self.scales[kind]
        smallest = max(scale.smallest * self.unit, READABLE_PX)
        padding = find_padding(kind, 1.0, is_plated)
        limits = scale.max_lines, scale.may_shorten
        largest = max(share * scale.largest * self.unit, smallest)
        room = Room(width, height, largest, smallest, *limits, *padding)
        words = self.words[kind]
        block = fit(words.text, room, words.voice)
        if scale.may_shorten and (block is None or is_torn(block, words)):
            # A word that is cut in two reads worse than a small one.
            small = replace(room, smallest=READABLE_PX, may_shorten=False)
            block = fit(words.text, small, words.voice) or block
        return block

    def _stack(self, zone: Zone, rows: list[list[Placed]]) -> list[Placed]:
        gap = self.row_gap
        height = sum(measure_height(row) for row in rows) + gap * (len(rows) - 1)
        slack = zone.area.height - height
        top = zone.area.top + {"top": 0.0, "middle": slack / 2, "bottom": slack}[zone.anchor]
        placed = []
        for row in rows:
            rise = min(item.box.top for item in row)
            placed += [move(item, zone.area.left, top - rise) for item in row]
            top += measure_height(row) + gap
        return placed


def is_torn(block: Block, words: Words) -> bool:
    lines = [line.text for line in block.lines]
    return lines[-1][-1:] != ELLIPSIS and cuts_words(lines, words.text, words.voice.language)


def find_padding(kind: Kind, size: float, is_plated: bool) -> tuple[float, float]:
    """A badge always has a plate."""
    if is_plated or kind is Kind.BADGE:
        return PADDING_X * size, PADDING_Y * size
    return 0.0, 0.0


def baseline(item: Placed) -> float:
    return item.box.top + (item.box.height - item.block.height) / 2 + item.block.ascent


def measure_height(row: list[Placed]) -> float:
    return max(item.box.bottom for item in row) - min(item.box.top for item in row)


def move(item: Placed, x: float, y: float) -> Placed:
    box = Box(item.box.left + x, item.box.top + y, item.box.width, item.box.height)
    return Placed(item.words, item.block, box)
