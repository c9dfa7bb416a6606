"""What each arm would have brought, from what a bandit did.

A bandit gives shoppers the arm that it thinks best for them, so its arms can't be compared as they
are. Each decision was logged with its propensity, the probability that it had, and so can be
weighted by how often another policy would have decided the same.

ips   inverse propensity scores: no assumption, much noise
snips the same, divided by the mean weight: a little bias, less noise
dr    doubly robust (Dudík, Langford and Li 2011): a model of the reward, and the weighted rewards
      correct what it gets wrong; right where either propensities or model are

Decisions of one shopper depend on each other: intervals are of a ratio of means over shoppers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from tea_tasting.aggr import Aggregates

from server.experiments.analysis import sample_ratio
from server.experiments.analysis.metrics import Interval

NUM_FOLDS = 5
RIDGE = 1.0

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decisions:
    """Logged ones, one a row: `units` [n] numbers of shoppers from 0, `arms` [n], `propensities`
    [n] in (0, 1] of the arm that was chosen, `rewards` [n], `contexts` [n, d]."""

    units: Indices
    arms: Indices
    propensities: Floats
    rewards: Floats
    contexts: Floats
    num_arms: int

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.units, self.arms, self.rewards, self.contexts)}
        if lengths != {len(self.propensities)}:
            raise ValueError("decisions have parts of different lengths")
        if not np.all((self.propensities > 0) & (self.propensities <= 1)):
            raise ValueError("propensities must be above 0 and at most 1")
        if not (np.isfinite(self.rewards).all() and np.isfinite(self.contexts).all()):
            raise ValueError("rewards and contexts must be finite")
        if len(self) and not (0 <= self.arms.min() and self.arms.max() < self.num_arms):
            raise ValueError(f"arms must be numbers from 0 to {self.num_arms - 1}")

    def __len__(self) -> int:
        return len(self.propensities)


@dataclass(frozen=True, slots=True)
class Value:
    """Reward for each decision, and its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """`gain` is how much more the bandit brought, by the doubly robust estimate on the same
    decisions; its interval accounts for how many policies there are. `mean_weight` is 1 but for
    chance where the propensities are right; its interval is as wide as the sample ratio's alarm is
    rare. `effective_share` says how many decisions, as a share, the weighted ones are worth."""

    policy: str
    ips: Value
    snips: Value
    dr: Value
    gain: Value
    mean_weight: Value
    effective_share: float
    max_weight: float


def estimate_arms(decisions: Decisions, names: Sequence[str], alpha: float) -> list[PolicyValue]:
    """Of always showing each arm."""
    predicted = predict_rewards(decisions)
    always = np.eye(decisions.num_arms)
    return [
        estimate_policy(
            name,
            decisions,
            np.broadcast_to(always[arm], predicted.shape),
            predicted,
            alpha,
            num_policies=len(names),
        )
        for arm, name in enumerate(names)
    ]


def estimate_policy(
    name: str,
    decisions: Decisions,
    policy: Floats,
    predicted: Floats,
    alpha: float,
    num_policies: int = 1,
) -> PolicyValue:
    """`policy` [n, arms] is the probability of each arm where each decision was made; `predicted`
    [n, arms] the reward that a model expects, which was not fitted to that decision."""
    rows = np.arange(len(decisions))
    weights = policy[rows, decisions.arms] / decisions.propensities
    ones, rewards = np.ones(len(rows)), decisions.rewards
    surprise = rewards - predicted[rows, decisions.arms]
    doubly: Floats = (policy * predicted).sum(axis=1) + weights * surprise
    total, squared = float(weights.sum()), float(np.square(weights).sum())
    return PolicyValue(
        name,
        ips=_divide(decisions, weights * rewards, ones, alpha),
        snips=_divide(decisions, weights * rewards, weights, alpha),
        dr=_divide(decisions, doubly, ones, alpha),
        gain=_divide(decisions, rewards - doubly, ones, alpha / num_policies),
        mean_weight=_divide(decisions, weights, ones, sample_ratio.ALARM),
        effective_share=float(total**2 / squared / len(rows)) if squared else 0.0,
        max_weight=float(weights.max(initial=0.0)),
    )


def estimate_logged(decisions: Decisions, alpha: float) -> Value:
    """Of what was really shown."""
    return _divide(decisions, decisions.rewards, np.ones(len(decisions)), alpha)


def predict_rewards(decisions: Decisions) -> Floats:
    """[n, arms] by ridge regression of each arm's rewards on the context, fitted to the shoppers of
    the other folds."""
    inputs = np.column_stack([np.ones(len(decisions)), decisions.contexts])
    predicted = np.zeros((len(decisions), decisions.num_arms))
    folds = decisions.units % NUM_FOLDS
    for fold in range(NUM_FOLDS):
        held = folds == fold
        for arm in range(decisions.num_arms):
            known = ~held & (decisions.arms == arm)
            predicted[held, arm] = inputs[held] @ _fit(inputs[known], decisions.rewards[known])
    return predicted


def _fit(inputs: Floats, rewards: Floats) -> Floats:
    """The constant is not held back."""
    penalty = RIDGE * np.eye(inputs.shape[1])
    penalty[0, 0] = 1e-9
    found = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ rewards)
    return np.asarray(found, np.float64)


def _divide(decisions: Decisions, above: Floats, below: Floats, alpha: float) -> Value:
    """Ratio of two sums, with the delta method's interval over shoppers."""
    num_units = int(decisions.units.max(initial=-1)) + 1
    sums = {
        name: np.bincount(decisions.units, part, num_units)
        for name, part in {"above": above, "below": below}.items()
    }
    if num_units < 2 or not sums["below"].any():
        return Value(math.nan, Interval(math.nan, math.nan))
    spread = np.cov(sums["above"], sums["below"])
    sample = Aggregates(
        num_units,
        {name: float(part.mean()) for name, part in sums.items()},
        {"above": float(spread[0, 0]), "below": float(spread[1, 1])},
        {("above", "below"): float(spread[0, 1])},
    )
    value = sample.mean("above") / sample.mean("below")
    error = math.sqrt(max(0.0, sample.ratio_var("above", "below")) / num_units)
    reach = NormalDist().inv_cdf(1.0 - alpha / 2) * error
    return Value(value, Interval(value - reach, value + reach))
