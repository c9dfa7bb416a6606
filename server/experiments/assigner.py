"""Who chooses an arm of an experiment for a shopper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from features.records import Shopper
from server.core import ImageRequest
from server.experiments.definition import Experiment, ExperimentArm


@dataclass(frozen=True, slots=True)
class Choice:
    """`propensity` is the probability with which a shopper in the experiment was given this arm;
    `is_sticky` says that it was, some time before. `context` is what a bandit knew."""

    arm: ExperimentArm
    propensity: float
    is_sticky: bool = False
    context: tuple[float, ...] = ()


class Assigner(Protocol):
    def choose(self, experiment: Experiment, unit: str, is_eligible: bool = True) -> Choice | None:
        """The same arm for the same unit, None for one who takes no part.

        Who is not eligible does not get in; who got in before may stay.
        """


class Bandit(Protocol):
    def choose(
        self,
        experiment: Experiment,
        unit: str,
        choice: Choice,
        request: ImageRequest,
        shopper: Shopper | None,
    ) -> Choice:
        """In place of the choice by weights. `shopper` is None where nobody is known."""
