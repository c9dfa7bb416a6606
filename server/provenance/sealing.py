"""What an image is given on its way out: a mark in its pixels, a signature in its file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from server import logs
from server.core import EncodedImage, Pixels
from server.errors import Unavailable
from server.provenance.origin import Making
from server.provenance.watermark import Mask, Watermark

UNSIGNED = "the image could not be signed: it does not say where it comes from"

log = logs.logger(__name__)

SignFile = Callable[[bytes, str, Making], bytes]
"""A file of a media type, and how it was made → the same with a manifest."""


class SealObserver(Protocol):
    def signed(self, result: str, seconds: float) -> None:
        """An image was "signed", or it "failed". Called from worker threads."""


@dataclass(frozen=True, slots=True)
class OwnPixels:
    """Rows and columns of a picture, and where in them the product's own pixels show [h, w]."""

    box: tuple[slice, slice]
    shown: Mask

    def cover(self, pixels: Pixels) -> Mask:
        covered = np.zeros(pixels.shape[:2], bool)
        covered[self.box] = self.shown
        return covered


@dataclass(frozen=True)
class Sealer:
    """Callable from several threads. `kind` tells sealers apart that seal differently; one that
    `refuses` lets no image go unsigned that it should sign."""

    sign_file: SignFile | None = None
    watermark: Watermark | None = None
    refuses: bool = False
    observer: SealObserver | None = None
    kind: str = ""

    def mark(self, pixels: Pixels, own: OwnPixels | None = None) -> Pixels:
        """The picture [H, W, 3] with the mark beside the product's own pixels; the very same array
        where there is none to be."""
        if self.watermark is None:
            return pixels
        return self.watermark.mark(pixels, None if own is None else own.cover(pixels))

    def sign(self, image: EncodedImage, made: Making) -> tuple[EncodedImage, tuple[str, ...]]:
        """The image with its manifest, and warnings. Raises Unavailable."""
        if self.sign_file is None:
            return image, ()
        started_s, result = time.monotonic(), "failed"
        try:
            data = self.sign_file(image.data, image.mime_type, made)
            result = "signed"
        except Exception as error:  # keys may lie behind a network, and their client be anybody's
            log.warning("signing failed", error=f"{type(error).__name__}: {error}"[:500])
            if self.refuses:
                raise Unavailable("the image can't be signed now", "SIGNING_FAILED") from error
            return image, (UNSIGNED,)
        finally:
            if self.observer is not None:
                self.observer.signed(result, time.monotonic() - started_s)
        return replace(image, data=data, is_signed=True), ()


UNSEALED = Sealer()
"""Marks and signs nothing."""
