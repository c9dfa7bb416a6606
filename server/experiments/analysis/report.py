"""What an experiment came to, as frozen nouns, and as JSON.

The JSON has the fields of these nouns by their names, in their order; what can't be told is null,
times are Unix seconds, shares and lifts are fractions of 1. `version` is raised when a field goes
or changes its meaning; fields that are added do not raise it. It has no id of any shopper.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from server.experiments.analysis.aggregate import ArmCounts, LeftOut
from server.experiments.analysis.contrasts import Contrast
from server.experiments.analysis.decisions import OffPolicy
from server.experiments.analysis.metrics import Estimate, Unit
from server.experiments.analysis.power import Outlook
from server.experiments.analysis.sample_ratio import SampleRatio

VERSION = 1

Decision = Literal["empty", "untrusted", "decided", "undecided"]
State = Literal["ok", "caution", "alarm"]


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the numbers can be trusted, in one regard."""

    name: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`decision` is "empty" where nobody saw an image, "untrusted" where a check is an alarm;
    "decided" where the goal differs between an arm and the control."""

    decision: Decision
    headline: str
    sentences: tuple[str, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """`share` is the arm's weight among all. A bandit's shoppers count in each arm they saw."""

    name: str
    shows: str
    share: float
    counts: ArmCounts


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """`values` by arm, as they are: contrasts have them with what the time before explains off."""

    key: str
    title: str
    words: str
    unit: Unit
    better: Literal["higher", "lower"]
    is_goal: bool
    is_guardrail: bool
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TimePoint:
    """The goal by the end of the day that begins at `start_s`, from the start on."""

    start_s: float
    baseline: str
    arm: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """The goal among some shoppers. Where `sample_ratio` is a mismatch, who belongs to the segment
    depends on the arm, and nothing is compared."""

    dimension: str
    value: str
    sample_ratio: SampleRatio
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """What was set before anything was seen."""

    alpha: float
    power: float
    effect: float
    pre_period_days: float
    tuning_units: int
    decides: Literal["one look", "sequential"]


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    version: int
    experiment: str
    control: str
    goal: str
    made_s: float
    start_s: float
    first_s: float
    last_s: float
    is_over: bool
    verdict: Verdict
    arms: tuple[ArmFacts, ...]
    sample_ratio: SampleRatio
    left_out: LeftOut
    metrics: tuple[MetricFacts, ...]
    contrasts: tuple[Contrast, ...]
    timeline: tuple[TimePoint, ...]
    segments: tuple[SegmentFacts, ...]
    outlooks: tuple[Outlook, ...]
    off_policy: OffPolicy | None
    method: Method

    def contrast(self, metric: str, baseline: str, arm: str) -> Contrast:
        """KeyError where there was nothing to compare."""
        wanted = metric, baseline, arm
        for each in self.contrasts:
            if (each.metric, each.baseline, each.arm) == wanted:
                return each
        raise KeyError(wanted)


def tell(report: ExperimentReport) -> str:
    """As JSON: the same report is the same text."""
    return json.dumps(_bare(asdict(report)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _bare(value: object) -> object:
    """With null for what is no number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _bare(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(each) for each in value]
    return value
