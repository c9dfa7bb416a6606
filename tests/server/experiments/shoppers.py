"""Experiments and shoppers for tests."""

from collections import Counter
from collections.abc import Iterable, Sequence

from server.core import Arm
from server.experiments.assigner import Assigner
from server.experiments.definition import Changes, Experiment, ExperimentArm
from server.experiments.events import Receipt
from server.experiments.pseudonyms import Pseudonyms

PSEUDONYMS = Pseudonyms(b"a key of sixteen")
CHI_SQUARE = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 8: 26.12}
"""By degrees of freedom: what one of a thousand exceeds by chance."""


class Notebook:
    """A log that keeps what it is given."""

    def __init__(self):
        self.events = []

    async def append(self, events):
        self.events += events
        return Receipt(len(events), 0)


def name_units(num: int) -> list[str]:
    return [PSEUDONYMS.name(f"shopper-{number:05}") for number in range(num)]


def make_arms(*weights: float) -> tuple[ExperimentArm, ...]:
    """Named 0, 1, 2 …; those after the third show what the third does."""
    shows = [*Arm, *[Arm.PERSONALIZED] * len(weights)]
    return tuple(
        ExperimentArm(str(number), weight, Changes(shows[number]))
        for number, weight in enumerate(weights)
    )


def make_experiment(key: str, *weights: float, **fields: object) -> Experiment:
    return Experiment(key, make_arms(*(weights or (0.5, 0.5))), **fields)  # type: ignore[arg-type]


def deal(assigner: Assigner, experiment: Experiment, units: Iterable[str]) -> dict[str, str]:
    """The name of the arm by unit, of those who take part."""
    choices = {unit: assigner.choose(experiment, unit) for unit in units}
    return {unit: choice.arm.name for unit, choice in choices.items() if choice is not None}


def chi_square(observed: Sequence[float], expected: Sequence[float]) -> float:
    return sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))


def count(names: Iterable[str], arms: Iterable[ExperimentArm]) -> list[int]:
    counted = Counter(names)
    return [counted[arm.name] for arm in arms]
