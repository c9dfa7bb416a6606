"""Who comes into the shop, and what makes them click.

The server never sees a taste. Nor does a shopper see a label: palette and setting of an image are
read from its pixels by the judge, which was trained on real composites alone.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from diffusion.evaluation.judge import Judge, load_judge
from diffusion.looks import AXES
from features.simulate import LATENT_TASTES

CLICK_SHARE = 0.06
"""Of plain packshots."""

SURROUNDED = 1.25
"""Any surroundings get so many more clicks; to be liked comes on top."""

LIKED = {"palette": 0.5, "setting": 0.4}
BUY_SHARE = 0.2
"""Of the clicks."""

HIDE_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class Viewer:
    """A shopper with a hidden favourite on each axis."""

    user_id: str
    favourites: Mapping[str, str]

    def draw(self, name: str) -> np.random.Generator:
        """Their own chances, the same in every run."""
        digest = hashlib.blake2b(f"{self.user_id}/{name}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest))


class Eyes:
    """Looks at each picture once, however many see it."""

    def __init__(self, judge: Judge | None = None) -> None:
        self._judge = judge or load_judge()
        self._seen: dict[bytes, dict[str, str]] = {}

    def read(self, data: bytes) -> Mapping[str, str]:
        """Palette and setting of an encoded picture."""
        key = hashlib.blake2b(data, digest_size=16).digest()
        if key not in self._seen:
            with Image.open(io.BytesIO(data)) as image:
                found = self._judge.read(np.asarray(image.convert("RGB"))[None])
            self._seen[key] = {axis: AXES[axis][int(found.of(axis)[0].argmax())] for axis in LIKED}
        return self._seen[key]


def read_viewers(home: Path) -> Sequence[Viewer]:
    """All shoppers of the simulated world, with and without history or consent."""
    rows = pq.read_table(home / LATENT_TASTES).to_pylist()
    return [Viewer(row["user_id"], {axis: row[axis] for axis in LIKED}) for row in rows]


def find_click_share(viewer: Viewer, look: Mapping[str, str] | None) -> float:
    """How likely a click is; `look` is None for a plain packshot."""
    if look is None:
        return CLICK_SHARE
    liking = sum(worth for axis, worth in LIKED.items() if look[axis] == viewer.favourites[axis])
    return CLICK_SHARE * SURROUNDED * (1 + liking)
