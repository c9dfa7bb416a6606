"""Chooses the colours of placed words against the pixels that are there."""

from __future__ import annotations

import numpy as np

from server.brand_kits import BrandKit
from server.core import Pixels
from server.creative import Box, Element, Kind, TextStyle
from server.imaging.colours import (
    INK,
    PAPER,
    READABLE,
    Scheme,
    choose_bare,
    choose_plated,
    find_accent,
    find_contrast,
    list_inks,
    measure_distance,
    tinge,
    write_colour,
)
from server.imaging.zones import Placed, Setter, Zone

PLATE_TINGE = 0.3
APART = 25.0  # colour difference at which a badge can be told from what is around it


class Dresser:
    """Dresses words of one picture [height, width, 3], seen as lines begin at the left."""

    def __init__(self, scene: Pixels, product: Box, kit: BrandKit | None, mirrored: bool) -> None:
        self._scene, self._mirrored = scene, mirrored
        colours = kit.colours if kit else None
        self._own = (colours.ink, colours.paper) if colours else (None, None)
        # Kept to what is around the product: its own colours belong to it.
        self._accent = (colours and colours.accent) or find_accent(blank(scene, product))

    def dress(self, setter: Setter, zone: Zone) -> list[Element]:
        """One scheme for a zone: a plate behind all of its words or behind none."""
        placed = setter.set_zone(zone, is_plated=False)
        if not placed:
            return []
        behind = self._look_behind(placed)
        scheme = choose_bare(behind, list_inks(behind, self._own))
        if scheme is None:
            placed = setter.set_zone(zone, is_plated=True)
            behind = self._look_behind(placed)
            dark, light = tinge(behind, PLATE_TINGE)
            scheme = choose_plated(behind, self._own[0] or dark, self._own[1] or light)
        return [
            self.dress_badge(item)
            if item.words.kind is Kind.BADGE
            else self._write(item, self._strengthen(item, scheme))
            for item in placed
        ]

    def dress_badge(self, placed: Placed) -> Element:
        around = write_colour(self._look([placed]).mean(axis=0))
        plate = self._accent
        if measure_distance(plate, around) < APART:
            plate = INK if find_contrast(INK, around) >= 3 else PAPER
        ink = PAPER if find_contrast(PAPER, plate) >= READABLE else INK
        if find_contrast(ink, plate) < READABLE:
            plate, ink = INK, PAPER
        return self._write(placed, Scheme(ink, plate))

    def dress_label(self, placed: Placed) -> Element:
        """On a plate whatever is behind it: it is to be read, and told from the picture."""
        behind = self._look([placed])
        dark, light = tinge(behind, PLATE_TINGE)
        scheme = choose_plated(behind, self._own[0] or dark, self._own[1] or light)
        return self._write(placed, scheme)

    def _strengthen(self, item: Placed, scheme: Scheme) -> Scheme:
        """A price in the accent colour, where that can be read."""
        if item.words.kind is not Kind.PRICE or scheme.plate:
            return scheme
        return choose_bare(self._look([item]), [self._accent]) or scheme

    def _look_behind(self, placed: list[Placed]) -> Pixels:
        """Pixels [n, 3] behind the words that have no plate of their own."""
        return self._look([item for item in placed if item.words.kind is not Kind.BADGE] or placed)

    def _look(self, placed: list[Placed]) -> Pixels:
        """Pixels [n, 3] behind these boxes."""
        return np.concatenate([cut_out(self._scene, item.box).reshape(-1, 3) for item in placed])

    def _write(self, item: Placed, scheme: Scheme) -> Element:
        voice = item.words.voice
        style = TextStyle(
            voice.font, item.block.size, scheme.ink, scheme.plate, self._mirrored, voice.language
        )
        return Element(item.words.kind, item.box, item.block.text, style)


def blank(pixels: Pixels, box: Box) -> Pixels:
    """The rows of pixels [n, 3] outside a box."""
    height, width = pixels.shape[:2]
    inside = np.zeros((height, width), bool)
    inside[max(0, int(box.top)) : int(box.bottom), max(0, int(box.left)) : int(box.right)] = True
    return pixels[~inside] if not inside.all() else pixels.reshape(-1, 3)


def cut_out(pixels: Pixels, box: Box) -> Pixels:
    """The pixels that a box touches."""
    height, width = pixels.shape[:2]
    top, left = max(0, int(box.top)), max(0, int(box.left))
    return pixels[
        top : min(height, int(np.ceil(box.bottom))), left : min(width, int(np.ceil(box.right)))
    ]
