"""Experiments as they are opened from a configuration, and the command that reports."""

from __future__ import annotations

import json
import stat
from dataclasses import replace

import pytest
from openfeature import api
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from server.commands.experiments import open_experiments, read_programme
from server.commands.report import report
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, ExperimentsSlice, FeaturesSlice
from server.core import (
    Arm,
    EncodedImage,
    ImageRequest,
    ImageResult,
    Personalization,
    Reason,
    Source,
)
from server.experiments.assignment import Assigned
from server.experiments.events import EventKind
from server.experiments.recording import ReportedEvent
from server.metrics import Metrics

PROGRAMME = """\
experiments:
  - key: faces
    arms:
      - {name: generic, weight: 0.5}
      - {name: bold, weight: 0.5, shows: personalized, model: fast}
"""
REQUEST = ImageRequest("mug", user_id="anna@example.com", locale="en")
RESULT = ImageResult(
    images=(EncodedImage(b"image", "image/png", 64, 64, 7),),
    source=Source.GENERATED,
    personalization=Personalization(Reason.APPLIED),
    arm=Arm.GENERIC,
    model=None,
    sampler=None,
    steps=20,
    timings_s={},
)


@pytest.fixture
def configure(tmp_path):
    """A configuration with this programme and these settings."""

    def configure(text=PROGRAMME, **settings):
        path = tmp_path / "programme.yaml"
        path.write_text(text)
        experiments = ExperimentsSlice(programme=path, **settings)
        return Configuration(experiments=experiments, features=FeaturesSlice(home=tmp_path / "h"))

    return configure


def opened(configuration, metrics=None, models=("quality", "fast")):
    programme = read_programme(configuration.experiments)
    return open_experiments(configuration, programme, models, metrics or Metrics())


async def answer(trials, request=REQUEST):
    assigned = Assigned(request, await trials.assign(request, 0.5))
    return trials.stamp(assigned, RESULT, 0.1)


async def test_from_an_arm_to_a_report_with_all_of_it_under_home(configure, tmp_path, capsys):
    configuration, metrics = configure(), Metrics()
    async with opened(configuration, metrics) as experimenting:
        stamped = [
            await answer(experimenting.trials, replace(REQUEST, user_id=f"user-{n}"))
            for n in range(30)
        ]
        tokens = [result.images[0].exposure_token for result in stamped]
        reported = [ReportedEvent(f"e{n}", EventKind.RENDER, t) for n, t in enumerate(tokens)]
        recorded = await experimenting.laboratory.record(reported)
        assert (recorded.receipt.num_new, recorded.rejections) == (30, ())
        facts, page = await experimenting.laboratory.report("faces", is_drawn=True)
    arms = {arm["name"]: arm["counts"]["shoppers"] for arm in json.loads(facts)["arms"]}
    assert sum(arms.values()) == 30 and page.startswith("<!doctype html>")
    value, labels = metrics.registry.get_sample_value, {"experiment": "faces", "arm": "bold"}
    assert value("etalage_assignments_total", labels) == arms["bold"]
    assert value("etalage_experiment_seconds_count", labels) == arms["bold"]
    home = tmp_path / "h"
    assert (home / "events.db").exists() and (home / "experiments" / "events").is_dir()
    assert stat.S_IMODE((home / "keys" / "experiments").stat().st_mode) == 0o600
    html, told = tmp_path / "out" / "report.html", tmp_path / "out" / "report.json"
    assert report(configuration, "faces", html, told) == 0
    said = json.loads(told.read_text())
    assert [arm["counts"] for arm in said["arms"]] == [
        arm["counts"] for arm in json.loads(facts)["arms"]
    ]
    assert html.read_text().startswith("<!doctype html>")
    assert said["verdict"]["headline"] in capsys.readouterr().out
    for text in (facts, page, html.read_text()):
        assert "user-" not in text


async def test_a_shopper_keeps_their_arm_over_a_restart_with_other_weights(configure):
    async with opened(configure()) as experimenting:
        before = {
            f"user-{n}": (
                await answer(experimenting.trials, replace(REQUEST, user_id=f"user-{n}"))
            ).enrolment
            for n in range(20)
        }
    other = PROGRAMME.replace("weight: 0.5}", "weight: 0.99}").replace("0.5, shows", "0.01, shows")
    async with opened(configure(other)) as experimenting:
        for user_id, enrolment in before.items():
            asked = replace(REQUEST, user_id=user_id)
            assert (await answer(experimenting.trials, asked)).enrolment == enrolment
    assert {each.arm for each in before.values()} == {"generic", "bold"}


async def test_without_a_programme_images_have_tokens_and_events_are_kept(tmp_path):
    configuration = Configuration(features=FeaturesSlice(home=tmp_path))
    async with opened(configuration) as experimenting:
        stamped = await answer(experimenting.trials)
        event = ReportedEvent("e", EventKind.RENDER, stamped.images[0].exposure_token)
        assert (await experimenting.laboratory.record([event])).receipt.num_new == 1
    assert stamped.enrolment is None and not experimenting.laboratory.experiments


def make_provider():
    """For `experiments.openfeature_provider`."""
    return InMemoryProvider({"faces": InMemoryFlag("on", {"on": "bold"})})


def make_trouble():
    raise RuntimeError("no flags today")


@pytest.fixture
def flags():
    yield
    api.shutdown()


@pytest.mark.usefixtures("flags")
async def test_an_openfeature_provider_may_assign(configure):
    async with opened(configure(openfeature_provider=f"{__name__}:make_provider")) as experimenting:
        enrolment = (await answer(experimenting.trials)).enrolment
    assert (enrolment.arm, enrolment.propensity) == ("bold", 0.5)


async def refuse(configuration, models=("quality", "fast")) -> str:
    with pytest.raises(StartFailed) as caught:
        async with opened(configuration, models=models):
            pass
    return str(caught.value)


async def test_an_arm_of_an_unknown_model_stops_the_start_with_its_line(configure, tmp_path):
    told = await refuse(configure(), models=("quality",))
    assert told.startswith(f"{tmp_path / 'programme.yaml'}:5: experiments.0.arms.1.model: ")
    assert "'fast' is none of this server's models: quality" in told


async def test_a_wrong_programme_stops_the_start_with_its_line(configure, tmp_path):
    told = await refuse(configure(PROGRAMME.replace("weight: 0.5,", "weight: 0.6,")))
    assert told.startswith(f"{tmp_path / 'programme.yaml'}:3: experiments.0.arms: weights sum to")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"database": "mysql://host/name"}, "mysql|MySQL"),
        ({"database": "no url at all"}, "experiments.database"),
        ({"database": "sqlite://"}, "nothing would be kept"),
        ({"database": "sqlite:////dev/null/events.db"}, "experiments.database"),
        ({"keys": "/dev/null/keys"}, "/dev/null/keys"),
        ({"openfeature_provider": "nowhere:make"}, "openfeature_provider: nowhere:make"),
        ({"openfeature_provider": f"{__name__}:nothing"}, "openfeature_provider"),
        ({"openfeature_provider": f"{__name__}:make_trouble"}, "no flags today"),
    ],
)
async def test_a_wrong_setting_stops_the_start_and_is_named(configure, settings, named):
    told = await refuse(configure(**settings))
    assert any(name in told for name in named.split("|"))


def test_a_report_of_what_there_is_not_says_what_there_is(configure, capsys):
    assert report(configure(), "gone", None, None) == 2
    assert "'gone' is none of the experiments: faces" in capsys.readouterr().err
    assert report(Configuration(), "gone", None, None) == 2
    assert "there is none" in capsys.readouterr().err


def test_a_report_without_its_events_says_what_can_not_be_read(configure, tmp_path, capsys):
    assert report(configure(database="sqlite:////dev/null/events.db"), "faces", None, None) == 1
    assert "experiments.database" in capsys.readouterr().err
    folder = tmp_path / "h" / "experiments"
    folder.mkdir(parents=True)
    (folder / "events").write_bytes(b"no folder")
    assert report(configure(), "faces", None, None) == 1
    assert capsys.readouterr().err.startswith("report: ")
