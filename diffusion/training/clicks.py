"""Whom the generator is shown: shoppers as the feature store knew them, and what they clicked next.

The rows come from Feast's point-in-time join (`python -m features.training_set`); a hidden taste is
nowhere in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diffusion.looks import AXES
from diffusion.taste import NUM_RECENT, embed_shopper

CREATIVES = "creatives.parquet"
TYPICAL_SHARE = 0.4
"""Of the moments: those whose next click repeats most of what the shopper clicked before."""

Vectors = NDArray[np.float32]
Looks = NDArray[np.int64]


class TrainingSetMismatch(RuntimeError):
    """The rows hold embeddings of other encoders than those that the generator is trained with."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(
            f"the training set was made with encoders {found or '(unknown)'}, but these are "
            f"{expected}: make it again with them"
        )


@dataclass(frozen=True)
class Moments:
    """Shoppers at moments of their history: profile [m, w], recent [m, NUM_RECENT, w], weights
    [m, NUM_RECENT], and the look [m, 3] (palette, setting, treatment) of what they then clicked.

    `axes` has for each of the three the mean embedding [choices, w] of each choice's creatives.
    `shares` [m] sum to 1 and say how often each is drawn.
    """

    profile: Vectors
    recent: Vectors
    weights: Vectors
    look: Looks
    axes: tuple[Vectors, ...]
    shares: Vectors

    def __len__(self) -> int:
        return len(self.look)

    def embed(self, rows: NDArray[np.int64], product: Vectors | None = None) -> Vectors:
        """Who they are, to a product each or to none: [n], [n, w] → [n, w], as a server computes
        it."""
        return embed_shopper(self.profile[rows], self.recent[rows], self.weights[rows], product)

    def embed_single_minded(self, rows: NDArray[np.int64]) -> Vectors:
        """Who would have clicked nothing but the look that they clicked next: [n] → [n, w], of the
        length that a usual shopper's embedding has."""
        pure = np.sum([axis[self.look[rows, i]] for i, axis in enumerate(self.axes)], axis=0)
        usual = np.median(np.linalg.norm(self.profile, axis=1))
        return np.asarray(usual * pure / np.linalg.norm(pure, axis=1, keepdims=True), np.float32)


def load_moments(
    path: Path, encoder_digest: str, width: int, typical_share: float = TYPICAL_SHARE
) -> Moments:
    """The training split's typical moments. Raises TrainingSetMismatch, naming both encoders.

    Many a click is chance. Which of them are is not written anywhere, but what repeats a history is
    taste more often than what does not: of each moment's next clicks the one that suits the shopper
    best, as known then, is the one to learn, and moments where none suits teach nothing.
    """
    file = pq.ParquetFile(path)
    told: dict[bytes, bytes] = file.schema_arrow.metadata or {}
    found = told.get(b"encoder_digest", b"").decode()
    if (found, told.get(b"width", b"").decode()) != (encoder_digest, str(width)):
        raise TrainingSetMismatch(found, encoder_digest)
    creatives = pq.read_table(path.with_name(CREATIVES))
    table = file.read()
    table = table.filter(pa.compute.equal(table["split"], "train"))
    profile = read_vectors(table["profile"], width)
    recent = read_vectors(table["recent"], NUM_RECENT * width).reshape(-1, NUM_RECENT, width)
    weights = read_vectors(table["recent_weights"], NUM_RECENT)
    known = embed_shopper(profile, recent, weights)
    chosen, likeness = choose_clicks(table["clicked"], creatives, known)
    typical = likeness >= np.quantile(likeness, 1 - typical_share)
    weight = table["weight"].to_numpy()[typical]
    looks = read_looks(creatives)
    axes = average_axes(read_vectors(creatives["embedding"], width), looks)
    look = looks[chosen][typical]
    shares = weight / weight.sum()
    return Moments(profile[typical], recent[typical], weights[typical], look, axes, shares)


def choose_clicks(
    clicked: Any, creatives: pa.Table, shoppers: Vectors
) -> tuple[NDArray[np.int64], Vectors]:
    """Of each moment's next clicks the one most like the shopper: its row in `creatives`, and the
    cosine (creatives' embeddings being of unit length)."""
    number = {name: i for i, name in enumerate(creatives["creative_id"].to_pylist())}
    embeddings = read_vectors(creatives["embedding"], shoppers.shape[1])
    directions = shoppers / np.maximum(np.linalg.norm(shoppers, axis=1, keepdims=True), 1e-6)
    chosen = np.empty(len(shoppers), np.int64)
    likeness = np.empty(len(shoppers), np.float32)
    for row, names in enumerate(clicked.to_pylist()):
        numbers = np.array([number[name] for name in names])
        alike = embeddings[numbers] @ directions[row]
        chosen[row], likeness[row] = numbers[alike.argmax()], alike.max()
    return chosen, likeness


def read_looks(creatives: pa.Table) -> Looks:
    """Palette, setting and treatment of each as indices: [creatives, 3]."""
    columns = [
        [names.index(value) for value in creatives[axis].to_pylist()]
        for axis, names in AXES.items()
    ]
    return np.array(columns, np.int64).T


def average_axes(embeddings: Vectors, looks: Looks) -> tuple[Vectors, ...]:
    averages = []
    for axis, size in enumerate(map(len, AXES.values())):
        shares = (looks[:, axis] == np.arange(size)[:, None]).astype(np.float32)
        averages.append(shares @ embeddings / np.maximum(shares.sum(axis=1, keepdims=True), 1))
    return tuple(averages)


def read_vectors(column: Any, width: int) -> Vectors:
    """A list column as [n, width]; a row that is null is zero."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    rows = np.zeros((len(column), width), np.float32)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    rows[valid] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return rows
