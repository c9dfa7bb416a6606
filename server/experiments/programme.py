"""All experiments of a server, from one YAML file or a folder of them, checked before it starts.

holdout: {share: 0.02, shows: generic}
experiments:
  - key: autumn-faces
    arms:
      - {name: original, weight: 0.2}
      - {name: generic, weight: 0.4}
      - {name: bold, weight: 0.4, shows: personalized, strength: 0.8}
    targeting: {locales: [pt, es-MX], interests: [food], shopper: known}
    namespace: {name: faces, range: [0, 0.5]}
    start: 2026-11-01
    end: 2026-12-01T12:00:00+01:00
    coverage: 0.5
    control: original

Without arms there are three: `original`, `generic` and `personalized`. Without weights all weigh
the same. Times are UTC unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from server.errors import Violation
from server.experiments.declared import Declared, find_faults
from server.experiments.definition import Experiment, Holdout, Namespace
from server.experiments.sheet import Loc, Sheet

Place = tuple[Sheet, Loc]


@dataclass(frozen=True, slots=True)
class Programme:
    """In the order of the files and within them. No two experiments have one key."""

    experiments: tuple[Experiment, ...] = ()
    holdout: Holdout = Holdout()
    _places: Mapping[str, Place] = field(default_factory=dict, repr=False, compare=False)

    def find(self, key: str) -> Experiment | None:
        return next((each for each in self.experiments if each.key == key), None)

    def check_models(self, names: Collection[str]) -> None:
        """Raises ProgrammeInvalid where an arm names a model that is none of these."""
        for experiment in self.experiments:
            for number, arm in enumerate(experiment.arms):
                if (model := arm.changes.model) and model not in names:
                    reason = f"{model!r} is none of this server's models: {', '.join(names)}"
                    sheet, loc = self._places[experiment.key]
                    raise sheet.refuse((*loc, "arms", number, "model"), reason)

    def check_targeting(self, find: Callable[[str], Collection[str]]) -> None:
        """`find` tells in which ways an interest is sensitive. Raises ProgrammeInvalid where an
        experiment is for shoppers of such a one."""
        for experiment in self.experiments:
            for number, interest in enumerate(experiment.targeting.interests):
                if ways := find(interest):
                    reason = (
                        f"{interest!r} may be sensitive ({', '.join(ways)}); "
                        "experiments.sensitive_targeting allows it"
                    )
                    sheet, loc = self._places[experiment.key]
                    raise sheet.refuse((*loc, "targeting", "interests", number), reason)

    def check_override(self, experiment: str, arm: str, at: str = "") -> Iterator[Violation]:
        """What is wrong with a request that forces an arm of an experiment; `at` is where the
        override lies in the message, e.g. "experiment."."""
        found = self.find(experiment)
        if found is None:
            known = ", ".join(each.key for each in self.experiments) or "it has none"
            text = f"{experiment[:64]!r} is none of this server's experiments: {known}"
            yield Violation(f"{at}experiment", text)
        elif found.arm(arm) is None:
            known = ", ".join(each.name for each in found.arms)
            yield Violation(f"{at}arm", f"{arm[:64]!r} is no arm of {experiment}: {known}")


def load_programme(path: Path | None) -> Programme:
    """Of a file, or of all *.yaml of a folder; none without a path. Raises ProgrammeInvalid."""
    if path is None:
        return Programme()
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    placed: dict[str, tuple[Experiment, Place]] = {}
    holdout: Holdout | None = None
    for sheet in map(Sheet.read, files):
        declared = _validate(sheet)
        for number, each in enumerate(declared.experiments or ()):
            loc: Loc = ("experiments", number)
            for inner, reason in find_faults(each):
                raise sheet.refuse((*loc, *inner), reason)
            experiment = each.define()
            _check_apart(experiment, [other for other, _ in placed.values()], (sheet, loc))
            placed[experiment.key] = experiment, (sheet, loc)
        if declared.holdout is not None:
            if holdout is not None:
                raise sheet.refuse(("holdout",), "is told by another file already")
            holdout = declared.holdout.define()
    return Programme(
        tuple(experiment for experiment, _ in placed.values()),
        holdout or Holdout(),
        {key: place for key, (_, place) in placed.items()},
    )


def _validate(sheet: Sheet) -> Declared:
    try:
        return Declared.model_validate(sheet.content)
    except ValidationError as error:
        raise sheet.refuse_given(error) from error


def _check_apart(experiment: Experiment, others: Collection[Experiment], place: Place) -> None:
    """From all before it: another key, and other shoppers of a namespace at any one time."""
    sheet, loc = place
    for other in others:
        if other.key == experiment.key:
            raise sheet.refuse((*loc, "key"), f"{other.key!r} is another experiment's key")
        ours, theirs = experiment.namespace, other.namespace
        if ours and theirs and _overlap(ours, theirs) and _meet(experiment, other):
            reason = f"overlaps that of {other.key}, [{theirs.low:g}, {theirs.high:g}]"
            raise sheet.refuse((*loc, "namespace", "range"), reason)


def _overlap(one: Namespace, other: Namespace) -> bool:
    return one.name == other.name and one.low < other.high and other.low < one.high


def _meet(one: Experiment, other: Experiment) -> bool:
    """Whether there is a time at which both run."""
    return (one.end is None or other.start is None or other.start < one.end) and (
        other.end is None or one.start is None or one.start < other.end
    )
