"""What the arms are really worth, and whether the report has found it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.demo.shop.visits import Impression

ORDER = ("original", "generic", "personalized")
PAIRS = (("original", "generic"), ("original", "personalized"), ("generic", "personalized"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison of click rates: what is true, what the report says, and its interval."""

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
    """How likely a click was, on average over the images that an arm showed."""
    return {
        arm: float(np.mean([each.click_share for each in impressions if each.arm == arm]))
        for arm in ORDER
    }


def compare(report: Mapping[str, Any], shares: Mapping[str, float]) -> list[Finding]:
    """The sequential interval: the report is read while the shop is open."""
    told = {
        (each["baseline"], each["arm"]): each
        for each in report["contrasts"]
        if each["metric"] == "ctr"
    }
    findings = []
    for baseline, arm in PAIRS:
        estimate = told[baseline, arm]["estimate"]
        interval = estimate["lift_sequential"]
        findings.append(
            Finding(
                baseline,
                arm,
                shares[arm] / shares[baseline] - 1,
                estimate["lift"],
                (interval["low"], interval["high"]),
                told[baseline, arm]["outcome"],
            )
        )
    return findings


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
