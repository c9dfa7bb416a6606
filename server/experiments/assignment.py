"""Which arm answers, and so how strongly the shopper may take part, before anything is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

from features.records import Shopper, Status
from server.core import Arm, Enrolment, ImageRequest, InlineProduct, Mode
from server.errors import InvalidRequest
from server.experiments.assigner import Assigner, Bandit, Choice
from server.experiments.definition import Changes, Experiment, ExperimentArm, Targeting
from server.experiments.programme import Programme
from server.localization.locales import complete, read_tag

NUM_SEEDS = 256
"""Of an arm with a diversity, for each product."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A request, and the experiments that it may still be in once its shopper is known."""

    request: ImageRequest
    experiments: tuple[Experiment, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """An arm and the strength that it leaves to the request: 0 unless it is personalized.

    `unit` is the shopper's pseudonym, or the session's. `changes` are for `apply`. While it is
    pending it is not yet the last word: the shopper is to be read, and it is to be settled.
    """

    arm: Arm
    strength: float
    unit: str = ""
    enrolment: Enrolment | None = None
    changes: Changes | None = None
    is_held_out: bool = False
    pending: Pending | None = None

    @property
    def wants_shopper(self) -> bool:
        return self.strength > 0 or self.pending is not None


@dataclass(frozen=True, slots=True)
class Assigned:
    """A request as its arm has it. `shopper` is who the arm was settled by, if that was needed."""

    request: ImageRequest
    assignment: Assignment
    shopper: Shopper | None = None


class Assignments:
    """What the experiments of a server make of a request, in this order:

    1. an arm that the request forces, for quality assurance;
    2. the holdout;
    3. the first experiment of the programme that runs, that targets the request, and whose assigner
       takes the unit in: a request is in one experiment at most;
    4. otherwise the personalized arm.

    Who asks for strength 0, or tells neither shopper nor session, takes no part in experiments, and
    nor does a product without a packshot where an arm needs one. Whoever was taken in stays in when
    features no longer fit, so that an experiment with new shoppers keeps them; but never against
    their consent.
    """

    def __init__(
        self,
        programme: Programme,
        assigner: Assigner,
        name_unit: Callable[[str, str], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        bandit: Bandit | None = None,
    ) -> None:
        """`name_unit` makes a pseudonym of a user id and a session id, "" where both are."""
        self._programme, self._assigner, self._name_unit = programme, assigner, name_unit
        self._clock, self._bandit = clock, bandit

    def assign(self, request: ImageRequest, default_strength: float) -> Assignment:
        """Before anything is read. Raises InvalidRequest where the request forces what there is
        not: doors have looked before, but a batch may outlive an experiment."""
        unit = self._name_unit(request.user_id, request.session_id)
        asked = _find_asked(request, default_strength)
        if request.experiment:
            forced = Choice(self._find_forced(request), 1.0)
            return _enrol(unit, asked, request.experiment, forced, is_override=True)
        if request.arm is not None or not unit:
            return _show(request.arm or Arm.PERSONALIZED, asked, unit)
        holdout = self._programme.holdout
        if is_held_out(unit, holdout.share):
            is_shown = holdout.shows is not Arm.ORIGINAL or _has_packshot(request)
            return _show(holdout.shows if is_shown else Arm.GENERIC, asked, unit, is_held_out=True)
        if request.strength == 0:
            return _show(Arm.PERSONALIZED, asked, unit)
        now = self._clock()
        experiments = tuple(
            each
            for each in self._programme.experiments
            if each.is_running(now) and _fits_request(each, request)
        )
        return self._enrol_first(experiments, unit, asked, request)

    def settle(self, assignment: Assignment, shopper: Shopper | None) -> Assignment:
        """After the shopper was read, None for nobody; what is not pending stays as it is."""
        if (pending := assignment.pending) is None:
            return assignment
        unit, asked = assignment.unit, assignment.strength
        return self._enrol_first(pending.experiments, unit, asked, pending.request, shopper, True)

    def _enrol_first(
        self,
        experiments: tuple[Experiment, ...],
        unit: str,
        asked: float,
        request: ImageRequest,
        shopper: Shopper | None = None,
        is_read: bool = False,
    ) -> Assignment:
        for number, experiment in enumerate(experiments):
            targeting = experiment.targeting
            is_bandit = experiment.bandit is not None and self._bandit is not None
            if (targeting.needs_features or is_bandit) and request.user_id and not is_read:
                pending = Pending(request, experiments[number:])
                return _show(Arm.PERSONALIZED, asked, unit, pending=pending)
            known = shopper if _may_be_targeted(shopper) else None
            if targeting.needs_features and known is None:
                continue
            is_eligible = known is None or fits_shopper(targeting, known)
            choice = self._assigner.choose(experiment, unit, is_eligible)
            if choice is None:
                continue
            if self._bandit is not None and is_bandit:
                choice = self._bandit.choose(experiment, unit, choice, request, known)
            return _enrol(unit, asked, experiment.key, choice)
        return _show(Arm.PERSONALIZED, asked, unit)

    def _find_forced(self, request: ImageRequest) -> ExperimentArm:
        key, name = request.experiment, request.arm_name
        if wrong := list(self._programme.check_override(key, name, "experiment.")):
            raise InvalidRequest(*wrong)
        experiment = self._programme.find(key)
        arm = None if experiment is None else experiment.arm(name)
        assert arm is not None
        return arm


def assign(request: ImageRequest, default_strength: float) -> Assignment:
    """Without experiments: the request's own override, or the personalized arm for everybody."""
    return _show(request.arm or Arm.PERSONALIZED, _find_asked(request, default_strength))


def apply(request: ImageRequest, assignment: Assignment) -> ImageRequest:
    """What an arm names, whatever the request says; all else stays as it is asked for."""
    if (changes := assignment.changes) is None:
        return request
    scene, seed, diversity = request.scene, request.seed, request.diversity
    if changes.diversity is not None:
        seed, diversity = _draw_seed(request, assignment.unit), changes.diversity
    if palette := changes.palette:
        avoided = scene.avoided_palettes - {palette}
        scene = replace(scene, palette=palette, avoided_palettes=avoided)
    return replace(
        request,
        model=changes.model or request.model,
        mode=changes.mode or request.mode,
        strength=request.strength if changes.strength is None else changes.strength,
        steps=request.steps if changes.steps is None else changes.steps,
        scene=scene,
        seed=seed,
        diversity=diversity,
    )


def _draw_seed(request: ImageRequest, unit: str) -> int:
    """The same whenever a shopper sees a product again; of few, so that the cache has most of the
    images that anybody is dealt."""
    product = request.product if isinstance(request.product, str) else request.product.title
    told = f"{unit}\0{product}".encode()
    digest = hashlib.blake2b(told, digest_size=8, person=b"etalage.look")
    return int.from_bytes(digest.digest()) % NUM_SEEDS


def is_held_out(unit: str, share: float) -> bool:
    """Whoever is held out by a share is so by every larger one."""
    if share <= 0:
        return False
    digest = hashlib.blake2b(unit.encode(), digest_size=8, person=b"etalage.holdout")
    return int.from_bytes(digest.digest()) < share * 2**64


@lru_cache(maxsize=4096)
def fits_locale(targeted: tuple[str, ...], tag: str) -> bool:
    """Nothing targeted is everybody. "zh-Hant" is zh-TW too, "es-MX" is not es."""
    own, full = read_tag(tag), complete(tag)
    return not targeted or any(
        wanted.language == own.language
        and wanted.script in ("", full.script)
        and wanted.region in ("", own.region)
        for wanted in map(read_tag, targeted)
    )


def fits_shopper(targeting: Targeting, shopper: Shopper) -> bool:
    """Known are those with a history, however old; one of the interests is enough."""
    is_known = shopper.status is not Status.MISSING
    if targeting.is_known is not None and targeting.is_known != is_known:
        return False
    interests = shopper.interests + shopper.withheld  # which a programme has only where it may
    return not targeting.interests or not set(targeting.interests).isdisjoint(interests)


def _may_be_targeted(shopper: Shopper | None) -> bool:
    return shopper is not None and shopper.consent and shopper.status is not Status.UNAVAILABLE


def _fits_request(experiment: Experiment, request: ImageRequest) -> bool:
    """Without a packshot only creations can be shown."""
    return fits_locale(experiment.targeting.locales, request.locale) and (
        _has_packshot(request)
        or all(
            arm.changes.shows is not Arm.ORIGINAL
            and (arm.changes.mode or request.mode) is Mode.CREATE
            for arm in experiment.arms
        )
    )


def _has_packshot(request: ImageRequest) -> bool:
    return not isinstance(request.product, InlineProduct) or bool(request.product.packshot)


def _find_asked(request: ImageRequest, default_strength: float) -> float:
    return default_strength if request.strength is None else request.strength


def _show(
    arm: Arm,
    strength: float,
    unit: str = "",
    *,
    is_held_out: bool = False,
    pending: Pending | None = None,
) -> Assignment:
    left = strength if arm is Arm.PERSONALIZED else 0.0
    return Assignment(arm, left, unit, is_held_out=is_held_out, pending=pending)


def _enrol(
    unit: str, asked: float, experiment: str, choice: Choice, is_override: bool = False
) -> Assignment:
    changes = choice.arm.changes
    strength = 0.0
    if changes.shows is Arm.PERSONALIZED:
        strength = asked if changes.strength is None else changes.strength
    name, context = choice.arm.name, choice.context
    enrolment = Enrolment(experiment, name, choice.propensity, is_override, context)
    return Assignment(changes.shows, strength, unit, enrolment, changes)
