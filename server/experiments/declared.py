"""What a file of experiments may say, field by field, and what must agree within one experiment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from babel import Locale
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from diffusion.looks import AXES
from server.core import MAX_STEPS, Arm, Mode
from server.experiments.definition import (
    BanditSettings,
    Changes,
    Experiment,
    ExperimentArm,
    Holdout,
    Namespace,
    Targeting,
)
from server.experiments.sheet import Loc
from server.localization.locales import known_regions, read_tag

WEIGHT_TOLERANCE = 1e-6
NAMESPACE_PLACES = 1000
"""Shoppers are dealt to so many places of a namespace: a range of less may hold nobody."""

SHOWS = tuple(arm.value for arm in Arm)


def _check_locale(tag: str) -> str:
    told = read_tag(tag)
    scripts, regions = Locale("en").scripts, known_regions()
    if told.language not in Locale("en").languages:
        raise ValueError("is no BCP 47 tag of a known language, such as 'pt' or 'pt-BR'")
    if told.script not in scripts and told.script or told.region not in regions and told.region:
        raise ValueError("has a script or region that is not known")
    return tag


def _refuse_numbers(time: object) -> object:
    if isinstance(time, int | float):  # pydantic would take it for seconds since 1970
        raise ValueError("is no time such as 2026-11-01 or 2026-11-01T12:00:00+01:00")
    return time


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _check_palette(palette: str) -> str:
    if palette not in AXES["palette"]:
        raise ValueError(f"is no palette: one of {', '.join(AXES['palette'])}")
    return palette


def _check_range(range: tuple[float, float]) -> tuple[float, float]:
    if (range[1] - range[0]) * NAMESPACE_PLACES < 1 - WEIGHT_TOLERANCE:
        raise ValueError(f"must run upwards, over {1 / NAMESPACE_PLACES} at least")
    return range


def _spell_holdout(told: Any) -> Any:
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    return {"share": told} if is_number else told


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
LocaleTag = Annotated[str, AfterValidator(_check_locale)]
Time = Annotated[datetime, BeforeValidator(_refuse_numbers), AfterValidator(_in_utc)]
PaletteName = Annotated[str, AfterValidator(_check_palette)]
Range = Annotated[tuple[Share, Share], AfterValidator(_check_range)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeclaredArm(_Part):
    """`shows` may be left out where the name says it."""

    name: Name
    weight: Positive | None = None
    shows: Arm | None = None
    model: str | None = Field(default=None, min_length=1)
    mode: Mode | None = None
    strength: Share | None = None
    steps: int | None = Field(default=None, strict=True, ge=1, le=MAX_STEPS)
    palette: PaletteName | None = None
    diversity: Positive | None = None

    @property
    def shown(self) -> Arm | None:
        if self.shows is None and self.name in SHOWS:
            return Arm(self.name)
        return self.shows

    def define(self, num_arms: int) -> ExperimentArm:
        shown = self.shown
        assert shown is not None, "find_faults was not asked"
        changes = Changes(
            shown,
            self.model or "",
            self.mode,
            self.strength,
            self.steps,
            self.palette or "",
            self.diversity,
        )
        weight = 1 / num_arms if self.weight is None else self.weight
        return ExperimentArm(self.name, weight, changes)


class DeclaredTargeting(_Part):
    locales: tuple[LocaleTag, ...] = ()
    interests: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    shopper: Literal["new", "known"] | None = None


class DeclaredNamespace(_Part):
    name: Name
    range: Range


class DeclaredBandit(_Part):
    reward: Literal["click", "cart", "purchase"] = "click"
    explore: Positive = BanditSettings().explore
    refresh_s: float = Field(BanditSettings().refresh_s, strict=True, gt=0, le=86_400)


class DeclaredExperiment(_Part):
    key: Name
    arms: tuple[DeclaredArm, ...] = tuple(DeclaredArm(name=name) for name in SHOWS)
    targeting: DeclaredTargeting = DeclaredTargeting()
    namespace: DeclaredNamespace | None = None
    start: Time | None = None
    end: Time | None = None
    coverage: Share = 1.0
    version: int = Field(0, strict=True, ge=0)
    control: Name | None = None
    bandit: DeclaredBandit | None = None

    def define(self) -> Experiment:
        told, space, bandit = self.targeting, self.namespace, self.bandit
        is_known = None if told.shopper is None else told.shopper == "known"
        return Experiment(
            key=self.key,
            arms=tuple(arm.define(len(self.arms)) for arm in self.arms),
            targeting=Targeting(told.locales, told.interests, is_known),
            namespace=None if space is None else Namespace(space.name, *space.range),
            start=self.start,
            end=self.end,
            coverage=self.coverage,
            version=self.version,
            bandit=None if bandit is None else BanditSettings(**bandit.model_dump()),
            control=self.control or "",
        )


class DeclaredHoldout(_Part):
    share: Share
    shows: Arm = Holdout().shows

    def define(self) -> Holdout:
        return Holdout(self.share, self.shows)


class Declared(_Part):
    """A file. A holdout may be its share alone."""

    experiments: tuple[DeclaredExperiment, ...] | None = ()
    holdout: Annotated[DeclaredHoldout, BeforeValidator(_spell_holdout)] | None = None


def find_faults(experiment: DeclaredExperiment) -> Iterator[tuple[Loc, str]]:
    """What does not agree, and where in the experiment."""
    arms = experiment.arms
    if len(arms) < 2:
        yield ("arms",), f"has {len(arms)}; an experiment compares two at least"
    names: set[str] = set()
    for number, arm in enumerate(arms):
        if arm.name in names:
            yield ("arms", number, "name"), f"{arm.name!r} is another arm's name"
        names.add(arm.name)
        for name, reason in _find_arm_faults(arm):
            yield ("arms", number, name), reason
        if (arm.weight is None) != (arms[0].weight is None):
            yield ("arms", number, "weight"), "must be told for all arms, or for none"
    weights = [arm.weight for arm in arms if arm.weight is not None]
    if weights and abs(math.fsum(weights) - 1) > WEIGHT_TOLERANCE:
        yield ("arms",), f"weights sum to {math.fsum(weights):.7g}; must be 1"
    if experiment.control is not None and experiment.control not in names:
        yield ("control",), f"{experiment.control!r} is no arm: {', '.join(sorted(names))}"
    if experiment.start and experiment.end and experiment.end <= experiment.start:
        yield ("end",), "is not after the start"


def _find_arm_faults(arm: DeclaredArm) -> Iterator[tuple[str, str]]:
    if arm.shown is None:
        yield "shows", f"must be told where the arm's name is none of {', '.join(SHOWS)}"
    if arm.strength is not None and arm.shown in (Arm.ORIGINAL, Arm.GENERIC):
        yield "strength", f"changes nothing where the {arm.shown.value} image is shown"
    if arm.shown is Arm.ORIGINAL:
        for name in ("model", "mode", "steps", "palette", "diversity"):
            if getattr(arm, name) is not None:
                yield name, "changes nothing where the original image is shown"
