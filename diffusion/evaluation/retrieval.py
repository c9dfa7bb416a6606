"""What encoders can tell: pictures by their titles, products by other pictures, tastes apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Indices = NDArray[np.int64]
Hits = NDArray[np.bool_]


def recall_among(queries: Vectors, gallery: Vectors, own: Indices, k: int = 5) -> Hits:
    """Whether its own entry is among the `k` nearest by cosine: queries [n, w], own [n] → [n]."""
    scores = unit(queries) @ unit(gallery).T
    mine = np.take_along_axis(scores, own[:, None], axis=1)
    # Of equals all count as nearer: what can't tell anything apart finds nothing.
    return np.asarray((scores >= mine).sum(axis=1) <= k)


def match_centroids(vectors: Vectors, labels: Indices) -> Hits:
    """Whether the nearest mean by cosine is that of a vector's own label, the mean taken without
    the vector itself: [n, w], [n] → [n]. A label that nobody else has is a miss."""
    directions = unit(vectors)
    choices = np.unique(labels)
    is_own = labels[:, None] == choices
    sums = is_own.T.astype(np.float32) @ directions
    scores = directions @ unit(sums).T
    alone = unit(sums[np.argmax(is_own, axis=1)] - directions)
    scores[is_own] = (alone * directions).sum(axis=1)
    lonely = is_own.sum(axis=0)[np.argmax(is_own, axis=1)] == 1
    return np.asarray((choices[np.argmax(scores, axis=1)] == labels) & ~lonely)


def unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
