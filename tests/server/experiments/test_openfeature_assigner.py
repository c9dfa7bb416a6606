"""Arms by OpenFeature: the in-memory provider of its SDK, and one of our own that splits."""

import logging
import zlib

import pytest
from openfeature import api
from openfeature.exception import GeneralError, ProviderFatalError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.hook import Hook
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from server.experiments.openfeature_assigner import OpenFeatureAssigner
from tests.server.experiments.shoppers import chi_square, count, deal, make_experiment, name_units

EXPERIMENT = make_experiment("faces", 0.25, 0.75)
UNITS = name_units(4_000)


class Splitting(InMemoryProvider):
    """Deals half of all to each of two arms, by a hash of its own."""

    def __init__(self, propensity: str | float) -> None:
        super().__init__({})
        self.metadata = {"propensity": propensity}

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        unit = evaluation_context.targeting_key
        variant = str(zlib.crc32(f"{flag_key}/{unit}".encode()) % 2)
        return FlagResolutionDetails(
            variant, reason=Reason.SPLIT, variant=variant, flag_metadata=self.metadata
        )


class Failing(InMemoryProvider):
    def __init__(self, error: Exception, is_dead: bool = False) -> None:
        super().__init__({})
        self.error, self.is_dead = error, is_dead

    def initialize(self, evaluation_context):
        if self.is_dead:
            raise self.error

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        raise self.error


@pytest.fixture(autouse=True)
def alone():
    level = logging.getLogger("openfeature").level
    yield
    api.shutdown()
    logging.getLogger("openfeature").setLevel(level)


def holding(value, **metadata):
    flag = InMemoryFlag("on", {"on": value}, metadata)
    return OpenFeatureAssigner.over(InMemoryProvider({"faces": flag}))


def test_the_value_of_the_flag_is_the_arm_and_the_weight_its_propensity():
    choice = holding("1").choose(EXPERIMENT, "unit")
    assert choice and choice.arm is EXPERIMENT.arms[1] and choice.propensity == 0.75
    assert not choice.is_sticky


def test_a_provider_that_splits_deals_by_unit_and_tells_its_own_propensity():
    assigner = OpenFeatureAssigner.over(Splitting(propensity=0.5))
    dealt = deal(assigner, EXPERIMENT, UNITS)
    assert chi_square(count(dealt.values(), EXPERIMENT.arms), [2_000, 2_000]) < 10.83
    assert deal(assigner, EXPERIMENT, UNITS) == dealt
    choices = [assigner.choose(EXPERIMENT, unit) for unit in UNITS[:50]]
    assert {choice.propensity for choice in choices if choice} == {0.5}
    assert deal(assigner, make_experiment("other"), UNITS) != dealt


@pytest.mark.parametrize("given", ["0.5", True, 0, -0.5, 1.5, float("nan")])
def test_a_propensity_that_is_none_is_told_once_and_not_used(given, caplog):
    assigner = OpenFeatureAssigner.over(Splitting(given))
    for unit in UNITS[:20]:
        choice = assigner.choose(EXPERIMENT, unit)
        assert choice and choice.propensity == choice.arm.weight
    assert [record.getMessage() for record in caplog.records] == [
        f"experiment faces: the provider's propensity is not used: {given!r}"
    ]


def test_an_arm_that_there_is_not_takes_nobody_in_and_is_told_once(caplog):
    assigner = holding("bold")
    assert not any(assigner.choose(EXPERIMENT, unit) for unit in UNITS[:20])
    assert caplog.messages == ["experiment faces: the provider names no arm: 'bold'"]


def test_no_arm_at_all_takes_nobody_in_and_is_nothing_to_tell(caplog):
    assert holding("").choose(EXPERIMENT, "unit") is None and not caplog.records


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: InMemoryProvider({}), "FLAG_NOT_FOUND"),
        (lambda: InMemoryProvider({"faces": InMemoryFlag("on", {"on": 3})}), "TYPE_MISMATCH"),
        (lambda: Failing(GeneralError("down")), "GENERAL: down"),
        (lambda: Failing(ConnectionError("no way to the store")), "GENERAL: no way to the store"),
        (lambda: Failing(KeyError("all of unit-7")), "GENERAL: 'all of …'"),
    ],
)
def test_a_provider_that_fails_takes_nobody_in_and_is_told_once(make, told, caplog):
    assigner = OpenFeatureAssigner.over(make())
    assert [assigner.choose(EXPERIMENT, "unit-7") for _ in range(20)] == [None] * 20
    (message,) = caplog.messages
    assert told in message and "unit-7" not in message
    assigner.choose(make_experiment("other"), "unit-7")
    assert len(caplog.messages) == 2


def test_a_provider_that_can_not_start_stops_the_start():
    with pytest.raises(ProviderFatalError):
        OpenFeatureAssigner.over(Failing(ProviderFatalError("no licence"), is_dead=True))


def test_who_is_not_eligible_is_not_asked_for():
    assert holding("1").choose(EXPERIMENT, "unit", is_eligible=False) is None


def test_hooks_of_the_client_take_part():
    seen = []

    class Witness(Hook):
        def after(self, hook_context, details, hints):
            seen.append((hook_context.evaluation_context.targeting_key, details.value))

    assigner = holding("1")
    api.add_hooks([Witness()])
    assigner.choose(EXPERIMENT, "unit")
    assert seen == [("unit", "1")]
