"""Experiments as frozen nouns. Files are read in `programme`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from server.core import Arm, Mode


@dataclass(frozen=True, slots=True)
class Changes:
    """What an arm makes of a request; None and empty leave it as it is.

    With a `diversity` the shopper's own seed draws the look: at 1 by chance alone, so that what
    is clicked says what is liked, and not what a model thought would be.
    """

    shows: Arm
    model: str = ""
    mode: Mode | None = None
    strength: float | None = None
    steps: int | None = None
    palette: str = ""
    diversity: float | None = None


@dataclass(frozen=True, slots=True)
class ExperimentArm:
    """`weight` is its share of the shoppers in the experiment, 0 to 1."""

    name: str
    weight: float
    changes: Changes


@dataclass(frozen=True, slots=True)
class Namespace:
    """Experiments whose ranges in one namespace do not overlap share no shopper."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Targeting:
    """Who takes part; empty for everybody. `locales` are BCP 47 prefixes: "pt" means "pt-BR" too.
    `interests` and `is_known` need the shopper's features, and so their consent."""

    locales: tuple[str, ...] = ()
    interests: tuple[str, ...] = ()
    is_known: bool | None = None

    @property
    def needs_features(self) -> bool:
        return bool(self.interests) or self.is_known is not None


@dataclass(frozen=True, slots=True)
class BanditSettings:
    """An arm by Thompson sampling in place of fixed weights. `reward` is a kind of outcome."""

    reward: str = "click"
    explore: float = 0.1
    """Share that still goes by the weights, so that every arm keeps a propensity."""
    refresh_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Experiment:
    """One test. `coverage` is the share of eligible shoppers in it, the rest is as if there were
    none; `version` begins a new assignment when it is raised."""

    key: str
    arms: tuple[ExperimentArm, ...]
    targeting: Targeting = Targeting()
    namespace: Namespace | None = None
    start: datetime | None = None
    end: datetime | None = None
    coverage: float = 1.0
    version: int = 0
    bandit: BanditSettings | None = None
    control: str = ""
    """Name of the arm that others are compared with; empty: the first."""

    def arm(self, name: str) -> ExperimentArm | None:
        return next((arm for arm in self.arms if arm.name == name), None)

    def is_running(self, now: datetime) -> bool:
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


@dataclass(frozen=True, slots=True)
class Holdout:
    """A share of all shoppers is in no experiment, and sees one thing for good: without anything
    personalized, unless it is said otherwise, what all of it together is worth can be told."""

    share: float = 0.0
    shows: Arm = Arm.GENERIC
