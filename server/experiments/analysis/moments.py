"""Exact sums over shoppers: all that a test asks of a sample."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tea_tasting.aggr import Aggregates

from server.experiments.analysis.columns import SCALES

Pair = tuple[str, str]
"""Two columns in the order of their names; a column with itself is its square."""


def pair_up(names: Iterable[str]) -> list[Pair]:
    """Each column with itself and with each other one, once."""
    return list(itertools.combinations_with_replacement(sorted(set(names)), 2))


@dataclass(frozen=True, slots=True)
class Moments:
    """Of `count` shoppers: `sums` of columns and of `products` of two, in the columns' own units
    (columns.FINE). Those of two groups without a common shopper add up."""

    count: int
    sums: Mapping[str, int]
    products: Mapping[Pair, int]

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            {name: total + other.sums[name] for name, total in self.sums.items()},
            {pair: total + other.products[pair] for pair, total in self.products.items()},
        )

    def mean(self, name: str) -> float:
        """NaN of nobody."""
        if not self.count:
            return math.nan
        return self.sums[name] / (self.count * SCALES.get(name, 1))

    def covariance(self, one: str, other: str) -> float:
        """Of a sample, so by one less than there are; NaN of fewer than two."""
        if self.count < 2:
            return math.nan
        product = self.products[(one, other) if one <= other else (other, one)]
        above = self.count * product - self.sums[one] * self.sums[other]
        scale = SCALES.get(one, 1) * SCALES.get(other, 1)
        return above / (self.count * (self.count - 1) * scale)

    def aggregate(self, names: Iterable[str]) -> Aggregates:
        """What tea-tasting wants to know of these columns."""
        names = sorted(set(names))
        covariances = {pair: self.covariance(*pair) for pair in itertools.combinations(names, 2)}
        variances = {name: self.covariance(name, name) for name in names}
        means = {name: self.mean(name) for name in names}
        return Aggregates(self.count, means, variances, covariances)
