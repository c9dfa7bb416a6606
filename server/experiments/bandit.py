"""An arm by what is known of the shopper and of earlier outcomes: contextual Thompson sampling.

What the arms may be worth is drawn from the posterior some hundred times as soon as it is learned
(`bandit_learning`); how often an arm is the best of a draw, in the context at hand, is its share.
With `explore` it goes by the weights instead. That makes the arms' propensities, which are exact
however few the draws are. Among them a number decides that is the shopper's own for good: nobody's
arm changes while nothing is learned, and hardly anybody's where little is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from features.records import Shopper
from server.core import ImageRequest
from server.experiments.assigner import Choice
from server.experiments.bandit_context import describe
from server.experiments.definition import Experiment

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Policy:
    """`weights` [arms] sum to 1. `draws` [draws, arms, SIZE] are coefficients of the reward; where
    nothing is learned yet there are none, and it goes by the weights."""

    weights: Floats
    explore: float
    draws: Floats | None = None

    def weigh(self, context: Sequence[float]) -> Floats:
        """The propensity of each arm for a context [SIZE]: `explore` of its weight at least."""
        if self.draws is None:
            return self.weights
        # Without BLAS, whose threads wait for each other.
        rewards = np.einsum("dax,x->da", self.draws, np.array(context))
        shares = np.bincount(rewards.argmax(axis=1), minlength=len(self.weights)) / len(rewards)
        return np.asarray(self.explore * self.weights + (1.0 - self.explore) * shares, np.float64)


class ThompsonBandit:
    """Callable from any thread."""

    def __init__(self, experiments: Iterable[Experiment]) -> None:
        """Of those that have no bandit nothing is asked."""
        self._policies = {each.key: begin(each) for each in experiments if each.bandit}

    def follow(self, key: str, policy: Policy) -> None:
        """From now on, in the experiment of that key."""
        self._policies[key] = policy

    def choose(
        self,
        experiment: Experiment,
        unit: str,
        choice: Choice,
        request: ImageRequest,
        shopper: Shopper | None,
    ) -> Choice:
        context = describe(request, shopper)
        propensities = self._policies[experiment.key].weigh(context).tolist()
        place = find_place(experiment, unit)
        number = sum(end <= place for end in accumulate(propensities[:-1]))
        return Choice(experiment.arms[number], propensities[number], context=context)


def begin(experiment: Experiment) -> Policy:
    """Before anything is learned."""
    weights = np.array([arm.weight for arm in experiment.arms], np.float64)
    explore = 1.0 if experiment.bandit is None else experiment.bandit.explore
    return Policy(weights / weights.sum(), explore)


def find_place(experiment: Experiment, unit: str) -> float:
    """From 0 to below 1; another one in each experiment, and in each version of it."""
    told = f"{experiment.key}\0{experiment.version}\0{unit}"
    digest = hashlib.blake2b(told.encode(), digest_size=8, person=b"etalage.bandit")
    return (int.from_bytes(digest.digest()) >> 11) / 2**53
