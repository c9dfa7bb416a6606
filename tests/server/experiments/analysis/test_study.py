"""From a folder of events to a report."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from server.errors import FailedPrecondition
from server.experiments.analysis.page import render
from server.experiments.analysis.report import ExperimentReport, tell
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.analysis.study import analyze
from server.experiments.analysis.tables import open_tables
from server.experiments.definition import BanditSettings
from tests.server.experiments.analysis.shop import ARMS, DAY_S, NOW_S, START_S, Shop, define
from tests.server.experiments.analysis.test_decisions import learn

SETTINGS = AnalysisSettings(min_units=20)
CHANCES = {"original": 0.2, "generic": 0.4, "personalized": 0.6}


def sell(seed: int = 0, counts: dict[str, int] | None = None, **chances: float) -> Shop:
    """Two images for each shopper over ten days, each clicked with the chance of its arm."""
    shop, rng = Shop(), np.random.default_rng(seed)
    for arm, count in (counts or dict.fromkeys(ARMS, 300)).items():
        for number in range(count):
            locale, latency_s = ("en", "de")[number % 2], 0.2 + 0.1 * rng.random()
            for visit in range(2):
                time_s = START_S + DAY_S * (number % 10) + visit
                image = shop.show(
                    f"{arm}-{number}", arm, time_s, locale=locale, latency_s=latency_s
                )
                if rng.random() < (CHANCES | chances)[arm]:
                    shop.tell(image, "click", time_s + 5)
                    if rng.random() < 0.3:
                        shop.tell(image, "purchase", time_s + 60, float(rng.lognormal(3, 1)))
    return shop


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> ExperimentReport:
    folder = sell().write(tmp_path_factory.mktemp("events"), num_files=3)
    return analyze(folder, define(), NOW_S, SETTINGS)


def test_it_finds_that_personalized_beats_generic_beats_original(report):
    assert report.verdict.decision == "decided"
    assert report.verdict.headline.startswith("Personalized has ")
    for baseline, arm in (("original", "generic"), ("generic", "personalized")):
        found = report.contrast("ctr", baseline, arm)
        truth = CHANCES[arm] / CHANCES[baseline] - 1
        assert found.outcome == "better"
        assert found.estimate.lift_interval.low < truth < found.estimate.lift_interval.high


def test_arms_are_told_as_they_are(report):
    counts = [(a.name, a.shows, a.counts.shoppers, a.counts.images) for a in report.arms]
    assert counts == [(name, name, 300, 600) for name in ARMS]
    assert report.arms[0].share == pytest.approx(1 / 3)
    original = report.arms[0].counts
    values = {metric.key: metric.values["original"] for metric in report.metrics}
    assert values["ctr"] == original.clicks / 600
    assert values["value"] == pytest.approx(original.value / 300)
    assert 0.2 < original.latency_median_s < original.latency_p95_s < 0.3


def test_the_last_point_of_the_timeline_is_the_goals_own_contrast(report):
    assert len(report.timeline) == 3 * 10
    for point in report.timeline[-3:]:
        contrast = report.contrast("ctr", point.baseline, point.arm)
        assert point.estimate == contrast.estimate


def test_segments_are_told_and_add_up(report):
    assert [(s.dimension, s.value) for s in report.segments] == [("locale", "de"), ("locale", "en")]
    assert all(s.sample_ratio.counts["generic"] == 150 for s in report.segments)
    assert all(len(s.contrasts) == 3 for s in report.segments)


def test_a_segment_whose_members_depend_on_the_arm_is_not_compared(tmp_path):
    """Who asks for a packshot is never looked up, and so is new to the log."""
    shop = sell()
    for row in shop.exposures:
        row["is_known"] = row["arm"] == "personalized" or str(row["unit"]).endswith("7")
    found = analyze(shop.write(tmp_path), define(), NOW_S, SETTINGS).segments
    segments = [segment for segment in found if segment.dimension == "shopper"]
    assert [segment.value for segment in segments] == ["known"]
    assert segments[0].sample_ratio.is_mismatch and segments[0].contrasts == ()


def test_small_segments_are_not_told(tmp_path):
    folder = sell().write(tmp_path)
    assert analyze(folder, define(), NOW_S, AnalysisSettings(min_units=151)).segments == ()


def test_a_mismatch_of_the_sample_ratio_shouts(tmp_path):
    shop = sell(counts={"original": 300, "generic": 300, "personalized": 200})
    found = analyze(shop.write(tmp_path), define(), NOW_S, SETTINGS)
    assert found.sample_ratio.is_mismatch and found.verdict.decision == "untrusted"
    (alarm,) = (check for check in found.verdict.checks if check.state == "alarm")
    assert alarm.name == "sample ratio" and "personalized 200 (expected 267)" in alarm.text
    assert 'class="alarm"' in render(found)


def test_an_arm_that_nobody_saw_is_told_as_empty(tmp_path):
    shop = sell(counts={"original": 100, "generic": 100})
    found = analyze(shop.write(tmp_path), define(), NOW_S, SETTINGS)
    assert found.verdict.decision == "untrusted"  # an arm without anybody is a mismatch
    empty = found.arms[2].counts
    assert empty.shoppers == 0 and math.isnan(empty.latency_median_s)
    assert {(c.baseline, c.arm) for c in found.contrasts} == {("original", "generic")}
    assert "Nothing" not in tell(found) and render(found)


def test_of_an_experiment_that_nobody_saw_there_is_an_empty_report(tmp_path):
    found = analyze(Shop().write(tmp_path), define(), NOW_S)
    assert found.verdict.decision == "empty" and found.contrasts == ()
    assert json.loads(tell(found))["first_s"] is None
    assert "Nobody has seen an image of this experiment yet." in render(found)


def test_events_of_others_do_not_make_an_experiment(tmp_path):
    shop = sell()
    other = replace(define(), key="unknown")
    assert analyze(shop.write(tmp_path), other, NOW_S).verdict.decision == "empty"


def test_after_its_end_one_look_decides(tmp_path):
    """42 % against 34 % of 600 images: enough for one look, too little for looking always."""
    folder = sell(3, generic=0.28, personalized=0.2).write(tmp_path)
    running = analyze(folder, define(), NOW_S, SETTINGS)
    over = analyze(folder, define(end_s=NOW_S - 1), NOW_S, SETTINGS)
    pair = "ctr", "original", "generic"
    assert (running.is_over, over.is_over) == (False, True)
    assert running.contrast(*pair).estimate == over.contrast(*pair).estimate
    assert running.contrast(*pair).outcome == "undecided"
    assert over.contrast(*pair).outcome == "better"
    assert running.method.decides == "sequential" and over.method.decides == "one look"


def test_another_goal_decides_when_it_is_asked_for(tmp_path):
    settings = replace(SETTINGS, goal="value")
    found = analyze(sell().write(tmp_path), define(), NOW_S, settings)
    assert found.goal == "value" and "value for each shopper" in found.verdict.sentences[0]
    assert [metric.key for metric in found.metrics if metric.is_goal] == ["value"]


@pytest.mark.parametrize("goal", ["clicks", "latency", ""])
def test_an_unknown_goal_is_refused_by_name(tmp_path, goal):
    with pytest.raises(ValueError, match="analysis.goal must be one of ctr, click_share"):
        analyze(tmp_path, define(), NOW_S, AnalysisSettings(goal=goal))


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(FailedPrecondition, match="there is no export"):
        analyze(tmp_path / "nowhere", define(), NOW_S)


def test_a_bandit_is_told_by_what_each_arm_would_have_brought(tmp_path):
    experiment = define(("generic", "personalized"), bandit=BanditSettings())
    found = analyze(learn().write(tmp_path), experiment, NOW_S)
    assert not (found.contrasts or found.timeline or found.segments)
    assert math.isnan(found.sample_ratio.p_value)
    assert "more than any single arm would have" in found.verdict.headline
    assert min(arm.counts.shoppers for arm in found.arms) > 400
    assert found.left_out.mixed_shoppers == 0
    assert "Off-policy estimates" in render(found)


def test_propensities_that_are_not_those_of_the_choices_shout(tmp_path):
    shop = learn()
    for row in shop.exposures:
        row["propensity"] = 0.5
    experiment = define(("generic", "personalized"), bandit=BanditSettings())
    # Half of each arm is right on the whole; for one of them only it is not.
    for row in shop.exposures[:900]:
        row["propensity"] = 0.9 if row["arm"] == "generic" else 0.1
    found = analyze(shop.write(tmp_path), experiment, NOW_S)
    assert found.verdict.decision == "untrusted"
    assert [c.name for c in found.verdict.checks if c.state == "alarm"] == ["propensities"]


def test_the_same_events_give_the_same_json_whatever_their_order_and_files(tmp_path, report):
    shop = sell()
    shop.exposures.reverse()
    shop.outcomes.reverse()
    folder = shop.write(tmp_path, num_files=5)
    assert tell(analyze(folder, define(), NOW_S, SETTINGS)) == tell(report)


def test_json_has_the_fields_of_the_report_and_null_for_what_cant_be_told(report):
    told = json.loads(tell(report), parse_constant=pytest.fail)
    assert list(told) == [field.name for field in fields(ExperimentReport)]
    assert told["version"] == 1 and told["off_policy"] is None
    (refusals,) = (m for m in told["metrics"] if m["key"] == "refusals")
    assert refusals["values"] == {"original": 0.0, "generic": 0.0, "personalized": 0.0}
    (returns,) = (m for m in told["metrics"] if m["key"] == "returns")
    assert returns["unit"] == "share"
    unasked = replace(report, first_s=math.nan, made_s=math.inf)
    assert json.loads(tell(unasked))["first_s"] is None


def test_neither_page_nor_json_has_the_id_of_a_shopper_or_an_image(report):
    for text in (tell(report), render(report)):
        assert "original-" not in text and "exposure-" not in text


def test_the_database_prints_nothing_of_its_own(tmp_path):
    """Its progress bar, which comes after seconds, went to standard output."""
    with open_tables(tmp_path, define(), SETTINGS, NOW_S) as connection:
        found = connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()
    assert found == (False,)
