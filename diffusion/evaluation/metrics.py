"""Rates and distances, each with the 95 % interval that its sample allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z = 1.959964  # a normal variable is within ± Z deviations in 95 % of cases
NUM_RESAMPLES = 400

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Hits = NDArray[np.bool_]
Draw = Callable[[Indices], Indices]


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value and its 95 % interval, from `n` observations."""

    value: float
    low: float
    high: float
    n: int


def estimate_rate(hits: Hits) -> Figure:
    """Share of hits, with Wilson's score interval (1927), which stays within 0 and 1."""
    n = len(hits)
    if not n:
        raise ValueError("no rate of nothing")
    share, squared = float(np.mean(hits)), Z * Z
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    spread = Z / (1 + squared / n) * math.sqrt(share * (1 - share) / n + squared / (4 * n * n))
    low, high = max(0.0, centre - spread), min(1.0, centre + spread)
    return Figure(share, min(share, low), max(share, high), n)


def estimate_mean(values: Sequence[float] | Floats) -> Figure:
    """Mean and its normal interval; of one value, that value alone."""
    sample = np.asarray(values, np.float64)
    mean = float(sample.mean())
    reach = Z * float(sample.std(ddof=1)) / math.sqrt(len(sample)) if len(sample) > 1 else 0.0
    return Figure(mean, mean - reach, mean + reach, len(sample))


def estimate_ratio(hits: Hits, of: Hits, seed: int = 0) -> Figure:
    """How much of one rate another one is; both are resampled, each for itself."""
    rng = np.random.default_rng(seed)
    above = rng.binomial(len(hits), np.mean(hits), NUM_RESAMPLES * 10) / len(hits)
    below = rng.binomial(len(of), np.mean(of), NUM_RESAMPLES * 10) / len(of)
    ratios = np.divide(above, below, out=np.ones_like(above), where=below > 0)
    value = float(np.mean(hits) / np.mean(of)) if np.any(of) else 1.0
    return Figure(value, *_quantiles(ratios), len(hits))


def estimate_difference(before: Hits, after: Hits) -> Figure:
    """By how much the rate fell, from pairs: before and after of the same cases."""
    return estimate_mean(before.astype(np.float64) - after.astype(np.float64))


def estimate_mismatch(read: Indices, tastes: Indices) -> Figure:
    """How often what was made for one shopper suits another: over all pairs of two shoppers.

    `read` [n] is what was seen on the picture for each, `tastes` [n] what each likes. The interval
    is the jackknife's over shoppers, since each takes part in many pairs.
    """
    n = len(read)
    if n < 2:
        raise ValueError("there is no other shopper")
    choices = int(max(read.max(), tastes.max())) + 1
    reads, likes = np.bincount(read, minlength=choices), np.bincount(tastes, minlength=choices)
    own = (read == tastes).astype(np.float64)
    total = float(reads @ likes - own.sum())
    value = total / (n * (n - 1))
    if n < 3:
        return Figure(value, 0.0, 1.0, n)
    without = (total - (likes[read] - own) - (reads[tastes] - own)) / ((n - 1) * (n - 2))
    reach = Z * math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    return Figure(value, max(0.0, value - reach), min(1.0, value + reach), n)


@dataclass(frozen=True, slots=True)
class Reference:
    """What pictures are compared with: features of real ones on their own leading axes, so that
    distances of a hundred pictures are not all noise. axes [features, kept], known [n, kept]."""

    axes: Floats
    known: Floats

    @classmethod
    def of(cls, features: NDArray[np.float32], num_axes: int = 64) -> Reference:
        wide = features.astype(np.float64)
        _, _, axes = np.linalg.svd(wide - wide.mean(axis=0), full_matrices=False)
        axes = axes[:num_axes].T
        return cls(axes, wide @ axes)


def estimate_frechet(
    features: NDArray[np.float32], reference: Reference, *, num_resamples: int = 100, seed: int = 0
) -> Figure:
    """Fréchet distance of pictures [n, features] to the reference.

    A resample holds fewer different pictures and lies further off than they do; the bootstrap's
    interval is therefore moved back by what it is off on average.
    """
    shown = features.astype(np.float64) @ reference.axes
    target = describe(reference.known)
    value = frechet_distance(*describe(shown), *target)
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(shown), size=(num_resamples, len(shown)))
    found = np.array([frechet_distance(*describe(shown[pick]), *target) for pick in picks])
    low, high = _quantiles(found - found.mean() + value)
    return Figure(value, max(0.0, min(low, value)), max(high, value), len(shown))


def describe(points: Floats) -> tuple[Floats, Floats]:
    """[n, d] → mean [d] and covariance [d, d]."""
    return points.mean(axis=0), np.atleast_2d(np.cov(points, rowvar=False))


def frechet_distance(mean: Floats, spread: Floats, other_mean: Floats, other: Floats) -> float:
    """Of two Gaussians (Dowson & Landau, 1982): |m - m'|² + tr(S + S' - 2 (S S')^½).

    The root's trace is that of the symmetric S^½ S' S^½, which eigenvalues give safely even where
    a covariance has no inverse.
    """
    values, vectors = np.linalg.eigh(spread)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    cross = np.linalg.eigvalsh(root @ other @ root)
    shared = float(np.sqrt(np.clip(cross, 0, None)).sum())
    apart = float(((mean - other_mean) ** 2).sum())
    return max(0.0, apart + float(np.trace(spread) + np.trace(other)) - 2 * shared)


def _quantiles(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
