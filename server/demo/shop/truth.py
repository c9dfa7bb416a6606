"""What the arms are really worth, and whether the report has found it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.demo.shop.visits import Impression

ORDER = ("original", "generic", "personalized")
PAIRS = (("original", "generic"), ("original", "personalized"), ("generic", "personalized"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison of click rates: what is true, what the report says, and its interval, NaN
    where it says nothing."""

    baseline: str
    arm: str
    truth: float
    lift: float
    interval: tuple[float, float]
    outcome: str

    @property
    def is_right(self) -> bool:
        """That the better arm was found to be so, and the truth lies in the interval."""
        low, high = self.interval
        return self.outcome == "better" and low <= self.truth <= high


def find_true_shares(impressions: Sequence[Impression]) -> dict[str, float]:
    """How likely a click was, on average over the images that an arm showed; NaN of none."""
    shares: dict[str, list[float]] = {arm: [] for arm in ORDER}
    for each in impressions:
        shares[each.arm].append(each.click_share)
    return {arm: float(np.mean(told)) if told else math.nan for arm, told in shares.items()}


def compare(report: Mapping[str, Any], shares: Mapping[str, float]) -> list[Finding]:
    """The sequential interval: the report is read while the shop is open."""
    told = {
        (each["baseline"], each["arm"]): each
        for each in report["contrasts"]
        if each["metric"] == "ctr"
    }
    return [
        _find(told.get((baseline, arm)), baseline, arm, shares[arm] / shares[baseline] - 1)
        for baseline, arm in PAIRS
    ]


def _find(contrast: Mapping[str, Any] | None, baseline: str, arm: str, truth: float) -> Finding:
    if contrast is None:  # too few shoppers
        return Finding(baseline, arm, truth, math.nan, (math.nan, math.nan), "undecided")
    estimate, interval = contrast["estimate"], contrast["estimate"]["lift_sequential"]
    ends = _read(interval["low"]), _read(interval["high"])
    return Finding(baseline, arm, truth, _read(estimate["lift"]), ends, contrast["outcome"])


def _read(number: float | None) -> float:
    return math.nan if number is None else number


def describe(findings: Sequence[Finding]) -> str:
    lines = ["click rate                     true lift   reported   interval"]
    for each in findings:
        low, high = each.interval
        name = f"{each.arm} over {each.baseline}"
        mark = "✓" if each.is_right else f"✕ ({each.outcome})"
        lines.append(
            f"{name:30} {each.truth:+9.1%}  {each.lift:+9.1%}   {low:+.1%} to {high:+.1%}  {mark}"
        )
    return "\n".join(lines)
