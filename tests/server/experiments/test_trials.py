"""What the pipeline does for experiments: an arm before, a token and a count after."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from features.keys import Keys
from features.records import Shopper, Status
from server.core import (
    Arm,
    Degradation,
    EncodedImage,
    ImageRequest,
    ImageResult,
    InlineProduct,
    Mode,
    ModelCard,
    Personalization,
    Reason,
    Source,
)
from server.experiments.assignment import Assigned, Assignments
from server.experiments.definition import Changes, ExperimentArm, Targeting
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.event_log.tables import exposures, outcomes
from server.experiments.exposures import open_token
from server.experiments.growthbook_assigner import GrowthBookAssigner
from server.experiments.programme import Programme
from server.experiments.sticky import StickyMemory
from server.experiments.trials import Trials
from server.metrics import Metrics
from tests.server.experiments.shoppers import PSEUDONYMS, make_experiment

NOW_S = 1_800_000_000.1234
KEYS = Keys((b"k" * 32,))
USER = "anna@example.com"
ARMS = (
    ExperimentArm("plain", 0.5, Changes(Arm.GENERIC)),
    ExperimentArm("bold", 0.5, Changes(Arm.PERSONALIZED, strength=0.8)),
)
FACES = replace(make_experiment("faces"), arms=ARMS)
KNOWN = Shopper(
    Status.FOUND,
    np.ones(64, np.float32),
    consent=True,
    interests=("music", "x" * 20_000, "food", "garden"),
)
RESULT = ImageResult(
    images=(
        EncodedImage(b"one", "image/png", 64, 64, 7, look=("mint", "desk", "flat", "more")),
        EncodedImage(b"two", "image/png", 64, 64, 2**64 - 1, is_original=True),
    ),
    source=Source.GENERATED,
    personalization=Personalization(
        Reason.APPLIED, "taste", "f" * 16, {"user_profile": 3600.4, "user_recent": 1.6}
    ),
    arm=Arm.PERSONALIZED,
    model=ModelCard("quality", "d" * 16),
    sampler=None,
    steps=20,
    timings_s={},
    degradation=Degradation.FEWER_STEPS,
)


class Nowhere:
    async def append(self, events):
        raise AssertionError("nothing is to be written")


@pytest.fixture
def metrics():
    return Metrics()


def open_trials(metrics, log=None, experiments=(FACES,), recall=None):
    assigner = GrowthBookAssigner(experiments)
    assignments = Assignments(Programme(tuple(experiments)), assigner, PSEUDONYMS.name)
    return Trials(assignments, KEYS, log or Nowhere(), metrics, lambda: NOW_S, recall)


def read(image):
    return open_token(image.exposure_token, KEYS, NOW_S, 60)


async def assign(trials, request, shopper=None):
    assignment = trials.settle(await trials.assign(request, 0.5), shopper)
    return Assigned(request, assignment, shopper)


def ask(**told):
    return (
        ImageRequest("mug", user_id=USER, locale="pt-BR", mode=Mode.RESTYLE, slate_rank=3)
        if not told
        else ImageRequest("mug", **told)
    )


async def test_each_image_gets_a_token_that_says_what_it_was(metrics):
    trials = open_trials(metrics)
    forced = replace(ask(), experiment="faces", arm_name="bold")
    stamped = trials.stamp(await assign(trials, forced), RESULT, 0.34567)
    assert stamped.enrolment.arm == "bold" and stamped.enrolment.is_override
    one, two = map(read, stamped.images)
    assert (one.unit, one.experiment, one.arm) == (PSEUDONYMS.name(USER), "faces", "bold")
    assert (one.propensity, one.is_override, one.is_anonymous) == (1.0, True, False)
    assert (one.product_id, one.locale, one.mode, one.rank) == ("mug", "pt-BR", "restyle", 3)
    assert (one.model, one.model_digest, one.steps) == ("quality", "d" * 16, 20)
    assert (one.reason, one.source, one.degradation) == ("applied", "generated", "fewer_steps")
    assert (one.strength, one.latency_s, one.minted_s) == (0.8, 0.3457, 1_800_000_000.123)
    assert one.feature_ages_s == (("user_profile", 3600), ("user_recent", 2))
    assert one.feature_fingerprint == "f" * 16
    assert (one.seed, two.seed) == (7, 2**64 - 1)
    assert (one.look, two.look) == (("mint", "desk", "flat"), ())
    assert (one.shows, two.shows) == ("personalized", "original"), "as it was, not as it should be"
    keys = [hashlib.blake2b(data, digest_size=12).hexdigest() for data in (b"one", b"two")]
    assert [one.image_key, two.image_key] == keys
    assert one.exposure_id != two.exposure_id
    assert [image.data for image in stamped.images] == [b"one", b"two"]


async def test_an_arm_has_its_propensity_and_the_same_shopper_the_same_arm(metrics):
    trials = open_trials(metrics)
    first, again = [
        trials.stamp(await assign(trials, ask()), RESULT, 0.1).enrolment for _ in range(2)
    ]
    assert first == again and (first.propensity, first.is_override) == (0.5, False)


async def test_outside_of_experiments_an_image_has_a_token_and_nothing_is_counted(metrics):
    trials = open_trials(metrics, experiments=())
    stamped = trials.stamp(await assign(trials, ask(session_id="visit-1")), RESULT, 0.1)
    assert stamped.enrolment is None
    told = read(stamped.images[0])
    assert (told.experiment, told.arm, told.propensity) == ("", "", 1.0)
    assert told.is_anonymous and told.unit == PSEUDONYMS.name("", "visit-1")
    nobody = trials.stamp(await assign(trials, ask(locale="en")), RESULT, 0.1)
    assert read(nobody.images[0]).unit == ""
    assert count(metrics, "assignments_total", arm="bold") is None


async def test_a_product_that_is_brought_along_has_no_id(metrics):
    trials = open_trials(metrics)
    request = replace(ask(), product=InlineProduct("A secret mug", b"packshot", {}))
    assert read(trials.stamp(await assign(trials, request), RESULT, 0.1).images[0]).product_id == ""


async def test_of_a_shopper_a_token_tells_what_the_arm_was_settled_by_and_no_id(metrics):
    targeted = replace(FACES, targeting=Targeting(is_known=True))
    trials = open_trials(metrics, experiments=(targeted,))
    settled = read(trials.stamp(await assign(trials, ask(), KNOWN), RESULT, 0.1).images[0])
    assert settled.is_known and settled.interests == ("music", "x" * 64, "food")
    plain = open_trials(metrics)
    image = plain.stamp(await assign(plain, ask()), RESULT, 0.1).images[0]
    assert not read(image).is_known and read(image).interests == ()
    for told in (settled, read(image)):
        assert USER not in repr(told)


def count(metrics, name, **labels):
    labels = {"experiment": "faces"} | labels
    return metrics.registry.get_sample_value(f"etalage_{name}", labels)


async def test_answers_are_counted_by_arm(metrics):
    trials = open_trials(metrics)
    assigned = await assign(trials, replace(ask(), experiment="faces", arm_name="plain"))
    trials.stamp(assigned, RESULT, 0.3)
    trials.stamp(assigned, replace(RESULT, degradation=Degradation.NONE), 0.5)
    assert count(metrics, "assignments_total", arm="plain") == 2
    images = "experiment_images_total"
    assert count(metrics, images, arm="plain", degradation="fewer_steps") == 2
    assert count(metrics, images, arm="plain", degradation="none") == 2
    assert count(metrics, "experiment_seconds_sum", arm="plain") == pytest.approx(0.8)
    assert count(metrics, "experiment_refusals_total", arm="plain") is None


@pytest.fixture
async def database(tmp_path):
    engine = open_events(f"sqlite:///{tmp_path / 'events.db'}")
    yield engine
    engine.dispose()


def read_rows(database, table):
    with database.connect() as connection:
        return connection.execute(select(table)).all()


async def test_a_refusal_is_kept_for_its_arm_and_counted(metrics, database):
    log = EventLog(database)
    log.start()
    trials = open_trials(metrics, log)
    assigned = await assign(trials, replace(ask(), experiment="faces", arm_name="bold"))
    trials.note_refusal(assigned, 1.25)
    trials.note_refusal(assigned, 1.5)
    await trials.close()
    await log.close()
    rows = read_rows(database, outcomes)
    assert [(row.kind, row.experiment, row.arm, row.is_override) for row in rows] == [
        ("refusal", "faces", "bold", True)
    ] * 2
    assert {row.unit for row in rows} == {PSEUDONYMS.name(USER)}
    assert {row.time_s for row in rows} == {1_800_000_000.123}
    assert not read_rows(database, exposures)
    assert count(metrics, "experiment_refusals_total", arm="bold") == 2
    assert count(metrics, "assignments_total", arm="bold") == 2, "they were taken in"


async def test_whoever_is_in_no_experiment_leaves_no_refusal(metrics):
    trials = open_trials(metrics)
    trials.note_refusal(await assign(trials, ask(locale="en")), 1.0)
    await trials.close()


async def test_a_refusal_that_can_not_be_kept_harms_nobody(metrics, database):
    log = EventLog(database)
    await log.close()
    trials = open_trials(metrics, log)
    trials.note_refusal(await assign(trials, ask()), 1.0)
    await trials.close()
    assert not read_rows(database, outcomes)


async def test_what_is_kept_of_a_shopper_is_fetched_before_an_arm_is_chosen(metrics, database):
    """So that no question to a database holds up those who wait at the same time."""
    log = EventLog(database)
    memory = StickyMemory(log.sticky_buckets)
    units = []

    async def recall(request):
        units.append(PSEUDONYMS.name(request.user_id, request.session_id))
        await memory.recall(units[-1])

    trials = open_trials(metrics, recall=recall)
    await assign(trials, ask())
    assert units == [PSEUDONYMS.name(USER)]
    await log.close()
