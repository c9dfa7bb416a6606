"""What the pipeline has to do with experiments: arms before it reads, tokens and counts after."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from features.keys import Keys
from features.records import Shopper, Status
from server.core import Arm, Reason, Source
from server.errors import DeadlineExceeded, ModelNotFound
from server.experiments.assignment import Assignments
from server.experiments.definition import Changes, ExperimentArm, Targeting
from server.experiments.events import EventKind
from server.experiments.exposures import open_token
from server.experiments.growthbook_assigner import GrowthBookAssigner
from server.experiments.programme import Programme
from server.experiments.trials import Trials
from server.metrics import Metrics
from tests.server.experiments.shoppers import PSEUDONYMS, Notebook, make_experiment
from tests.server.scripted_reader import ask, taste

KEYS = Keys((b"k" * 32,))
ARMS = (
    ExperimentArm("original", 0.25, Changes(Arm.ORIGINAL)),
    ExperimentArm("generic", 0.25, Changes(Arm.GENERIC)),
    ExperimentArm("bold", 0.25, Changes(Arm.PERSONALIZED, strength=1.0, palette="mint")),
    ExperimentArm("lost", 0.25, Changes(Arm.PERSONALIZED, model="unloaded")),
)
FACES = replace(make_experiment("faces"), arms=ARMS)


@pytest.fixture
def notebook():
    return Notebook()


@pytest.fixture
def join(pipeline, notebook):
    """Has the pipeline take part in these experiments."""

    def join(*experiments):
        assigner = GrowthBookAssigner(experiments)
        assignments = Assignments(Programme(experiments), assigner, PSEUDONYMS.name)
        trials = Trials(assignments, KEYS, notebook, Metrics())
        pipeline.join(trials)
        return trials

    return join


def force(arm, **changes):
    return ask(experiment="faces", arm_name=arm, **changes)


def read(result):
    return open_token(result.images[0].exposure_token, KEYS, time.time(), 60)


async def test_an_arm_decides_what_is_read_and_shown(pipeline, reader, join):
    join(FACES)
    original = await pipeline.generate(force("original"))
    assert original.source is Source.ORIGINAL and not reader.users
    generic = await pipeline.generate(force("generic"))
    assert generic.personalization.reason is Reason.STRENGTH_ZERO and not reader.users
    bold = await pipeline.generate(force("bold"))
    assert bold.personalization.applied and reader.users == ["u"]
    assert "mint" in bold.images[0].look
    told = [read(result) for result in (original, generic, bold)]
    assert [each.shows for each in told] == ["original", "generic", "personalized"]
    assert [each.arm for each in told] == ["original", "generic", "bold"]
    assert told[2].strength == 1.0 and told[2].latency_s > 0
    assert told[2].model_digest == bold.model.digest and told[2].seed == bold.images[0].seed


async def test_the_same_image_for_two_shoppers_has_a_token_for_each(pipeline, join):
    join(FACES)
    one, two = [
        read(await pipeline.generate(force("generic", user_id=user))) for user in ("u", "v")
    ]
    assert one.image_key == two.image_key
    assert one.unit != two.unit and one.exposure_id != two.exposure_id


async def test_features_settle_an_arm_where_they_are_targeted(pipeline, reader, join):
    arms = (ARMS[1], ARMS[2])
    targeting = Targeting(interests=("food",))
    join(replace(FACES, arms=tuple(replace(arm, weight=0.5) for arm in arms), targeting=targeting))
    assert (await pipeline.generate(ask())).enrolment is None
    reader.shopper = Shopper(Status.FOUND, taste(1), consent=True, interests=("food",))
    result = await pipeline.generate(ask())
    assert result.enrolment.arm in ("generic", "bold")
    assert read(result).interests == ("food",)


async def test_who_gets_no_image_is_counted_for_their_arm(pipeline, join, notebook):
    trials = join(FACES)
    with pytest.raises(DeadlineExceeded):
        await pipeline.generate(force("generic", deadline_s=time.monotonic()))
    with pytest.raises(ModelNotFound):
        await pipeline.generate(force("lost"))
    await trials.close()
    told = [(event.kind, event.exposure.arm) for event in notebook.events]
    assert told == [(EventKind.REFUSAL, "generic"), (EventKind.REFUSAL, "lost")]
    assert len({event.event_id for event in notebook.events}) == 2


async def test_what_nobody_waits_for_is_in_no_experiment(pipeline, join):
    join(FACES)
    result = await pipeline.generate(ask(is_background=True))
    assert result.enrolment is None and not result.images[0].exposure_token
