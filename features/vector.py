"""Which embeddings belong together: the fingerprint, kept with the store and checked at start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diffusion.taste import STORED_RECIPE
from features.schema import SERVICE, VIEWS, View

Vector = NDArray[np.float32]


class ImageTextEncoders(Protocol):
    """What turns pictures and titles into vectors; `diffusion.encoders.Encoders` does."""

    @property
    def width(self) -> int: ...

    @property
    def digest(self) -> str:
        """16 hex digits of weights and configuration."""

    def encode_images(self, images: NDArray[np.uint8]) -> Vector:
        """[n, H, W, 3] → [n, width]."""

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        """n texts → [n, width]."""


class FingerprintMismatch(RuntimeError):
    """The store holds embeddings of other encoders, or in another layout, than the ones at hand."""

    def __init__(self, stored: str, expected: str) -> None:
        super().__init__(
            f"the feature store's fingerprint is {stored or 'missing'}, but these encoders and "
            f"features make {expected}: ingest again with them, or load the ones it was made with"
        )
        self.stored = stored
        self.expected = expected


def fingerprint(width: int, encoder_digest: str) -> str:
    """16 hex digits over the order and types of all features, their lengths, what clicks weigh, and
    the encoders."""
    views = [[view.name, _tell_columns(view, width)] for view in VIEWS]
    told = json.dumps([SERVICE, views, STORED_RECIPE, encoder_digest])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _tell_columns(view: View, width: int) -> list[tuple[str, str]]:
    return [
        (name, f"{kind}[{view.length(name, width) if name in view.vectors else ''}]")
        for name, kind in view.columns
    ]


def check_fingerprint(stored: str, expected: str) -> None:
    """FingerprintMismatch, naming both, unless they are the same."""
    if stored != expected:
        raise FingerprintMismatch(stored, expected)
