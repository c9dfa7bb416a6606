"""Whether the arms have the sizes that they should have: if not, nothing else can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import chisquare

ALARM = 0.001
"""A split by chance alone is called a mismatch so often."""
FEWEST_EXPECTED = 5.0
"""Of an arm; the test's distribution is no good below."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Shoppers of each arm, as they are and as the weights have it. `p_value` is NaN where there
    are too few to tell."""

    counts: Mapping[str, int]
    expected: Mapping[str, float]
    p_value: float

    @property
    def is_mismatch(self) -> bool:
        return self.p_value < ALARM


def check_sample_ratio(counts: Mapping[str, int], weights: Mapping[str, float]) -> SampleRatio:
    """Pearson's chi-square of shoppers against weights; one in an arm of weight 0 is a mismatch."""
    num_units, whole = sum(counts.values()), sum(weights[arm] for arm in counts)
    expected = {arm: num_units * weights[arm] / whole for arm in counts}
    weighted = [arm for arm in counts if weights[arm] > 0]
    p_value = math.nan
    if any(counts[arm] for arm in counts if arm not in weighted):
        p_value = 0.0
    elif len(weighted) > 1 and min(expected[arm] for arm in weighted) >= FEWEST_EXPECTED:
        found = [counts[arm] for arm in weighted]
        p_value = float(chisquare(found, [expected[arm] for arm in weighted]).pvalue)
    return SampleRatio(dict(counts), expected, p_value)
