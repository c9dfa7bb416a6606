"""What counts and what does not, event by event."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from server.errors import FailedPrecondition
from server.experiments.analysis.aggregate import Aggregator, ArmCounts, LeftOut
from server.experiments.analysis.metrics import GOALS, METRICS
from server.experiments.analysis.moments import Moments, pair_up
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.analysis.tables import open_tables
from server.experiments.definition import Experiment
from server.experiments.event_log.parquet import Layout
from server.experiments.event_log.tables import exposures, outcomes
from tests.server.experiments.analysis.shop import ARMS, DAY_S, NOW_S, START_S, Shop, define

NAMES = sorted({name for m in METRICS.values() for name in m.names} - {"asked", "refused"})
PAIRS = pair_up([*NAMES, "carts"])


@contextlib.contextmanager
def aggregate(
    shop: Shop,
    folder: Path,
    experiment: Experiment | None = None,
    now_s: float = NOW_S,
    settings: AnalysisSettings | None = None,
) -> Iterator[Aggregator]:
    experiment, settings = experiment or define(), settings or AnalysisSettings()
    with open_tables(shop.write(folder), experiment, settings, now_s) as tables:
        arms = [arm.name for arm in experiment.arms]
        yield Aggregator(tables, experiment.key, arms, now_s)


def count(shop: Shop, folder: Path, arm: str = "generic", **more: Any) -> dict[str, int]:
    """Sums of an arm that are not zero, and its shoppers."""
    with aggregate(shop, folder, **more) as events:
        moments = events.sum_all(PAIRS)[arm]
    return {"shoppers": moments.count} | {k: v for k, v in moments.sums.items() if v}


def leave_out(shop: Shop, folder: Path) -> LeftOut:
    with aggregate(shop, folder) as events:
        return events.count_left_out()


def test_an_image_and_all_that_can_be_done_with_it(tmp_path):
    shop = Shop()
    image = shop.show("ann", "generic", latency_s=0.25, degradation="original")
    shop.tell(image, "click")
    shop.tell(image, "cart")
    shop.tell(image, "purchase", value=12.5)
    shop.tell(image, "dwell", value=3.0)
    shop.tell(image, "return", value=12.5)
    shop.tell(image, "hide")
    assert count(shop, tmp_path) == {
        "shoppers": 1,
        "shown": 1,
        "latency": 2500,
        "degraded": 1,
        "clicks": 1,
        "clicked": 1,
        "carts": 1,
        "carted": 1,
        "purchases": 1,
        "bought": 1,
        "value": 125_000,
        "dwell": 30_000,
        "returns": 1,
        "hides": 1,
    }
    assert leave_out(shop, tmp_path / "again") == LeftOut()


def test_an_image_that_is_shown_and_clicked_again_counts_once(tmp_path):
    shop = Shop()
    image = shop.show("ann", "generic", START_S)
    shop.show("ann", "generic", START_S + 50, exposure=image)
    shop.tell(image, "click", START_S + 60)
    shop.tell(image, "click", START_S + 61)
    shop.tell(image, "purchase", value=2.0)
    shop.tell(image, "purchase", value=3.0)
    found = count(shop, tmp_path)
    assert (found["shown"], found["clicks"]) == (1, 1)
    assert (found["purchases"], found["value"]) == (2, 50_000)


def test_an_image_that_was_not_degraded_says_none_or_nothing(tmp_path):
    shop = Shop()
    for degradation in ("", "none", "fewer_steps"):
        shop.show("ann", "generic", degradation=degradation)
    assert count(shop, tmp_path)["degraded"] == 1


def test_outcomes_of_images_that_were_not_rendered_are_left_out(tmp_path):
    shop = Shop()
    shop.show("ann", "generic")
    shop.tell("never-rendered", "click", arm="generic", unit="ann")
    assert "clicks" not in count(shop, tmp_path)
    assert leave_out(shop, tmp_path / "again").unseen_outcomes == 1


def test_outcomes_before_the_first_image_are_left_out(tmp_path):
    shop = Shop()
    image = shop.show("ann", "generic", START_S + 100)
    shop.tell(image, "click", START_S + 99)
    shop.tell(image, "cart", START_S + 100)
    found = count(shop, tmp_path)
    assert "clicks" not in found and found["carts"] == 1
    assert leave_out(shop, tmp_path / "again").early_outcomes == 1


def test_what_was_forced_is_left_out_with_what_came_of_it(tmp_path):
    shop = Shop()
    shop.tell(shop.show("qa", "generic", is_override=True), "click")
    shop.show("ann", "generic")
    assert count(shop, tmp_path) == {"shoppers": 1, "shown": 1, "latency": 2000}
    assert leave_out(shop, tmp_path / "again") == LeftOut(override_images=1)


def test_a_forced_image_does_not_mix_a_shopper(tmp_path):
    shop = Shop()
    shop.show("ann", "generic")
    shop.show("ann", "original", is_override=True)
    assert count(shop, tmp_path)["shoppers"] == 1


def test_who_saw_two_arms_is_left_out_and_counted(tmp_path):
    shop = Shop()
    shop.tell(shop.show("ann", "generic"), "click")
    shop.show("ann", "original")
    shop.show("ben", "generic")
    assert count(shop, tmp_path) == {"shoppers": 1, "shown": 1, "latency": 2000}
    assert leave_out(shop, tmp_path / "again") == LeftOut(mixed_shoppers=1)


def test_images_for_nobody_and_of_unknown_arms_are_left_out_and_counted(tmp_path):
    shop = Shop()
    shop.show("", "generic")
    shop.show("ann", "renamed")
    assert count(shop, tmp_path) == {"shoppers": 0}
    assert leave_out(shop, tmp_path / "again") == LeftOut(nameless_images=1, other_arm_images=1)


def test_an_image_of_an_unknown_arm_is_none_of_a_shopper_of_a_known_one(tmp_path):
    shop = Shop()
    shop.show("ann", "generic")
    shop.tell(shop.show("ann", "renamed"), "click")
    assert count(shop, tmp_path) == {"shoppers": 1, "shown": 1, "latency": 2000}


def test_images_of_an_earlier_version_are_left_out_and_do_not_mix_anybody(tmp_path):
    shop = Shop()
    shop.tell(shop.show("ann", "original", START_S - 1), "click")
    shop.show("ann", "generic", START_S)
    found = count(shop, tmp_path)
    assert found == {"shoppers": 1, "shown": 1, "latency": 2000, "pre_shown": 1}
    assert leave_out(shop, tmp_path / "again") == LeftOut(early_images=1)


def test_other_experiments_and_images_outside_of_any_do_not_count(tmp_path):
    shop = Shop()
    shop.tell(shop.show("ann", "generic", experiment="another"), "click", experiment="another")
    shop.tell(shop.show("ann", "", experiment=""), "click", experiment="")
    shop.show("ann", "generic")
    assert count(shop, tmp_path) == {"shoppers": 1, "shown": 1, "latency": 2000}


def test_what_happens_later_is_not_known_yet(tmp_path):
    shop = Shop()
    image = shop.show("ann", "generic", START_S)
    shop.tell(image, "click", START_S + 10)
    shop.show("ann", "original", START_S + 20)
    found = count(shop, tmp_path / "before", now_s=START_S + 5)
    assert found == {"shoppers": 1, "shown": 1, "latency": 2000}
    assert count(shop, tmp_path / "then", now_s=START_S + 15)["clicks"] == 1
    assert count(shop, tmp_path / "after", now_s=START_S + 25) == {"shoppers": 0}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e13])
def test_values_that_cant_be_are_left_out_and_counted(tmp_path, value):
    shop = Shop()
    image = shop.show("ann", "generic")
    shop.tell(image, "purchase", value=value)
    shop.tell(image, "purchase", value=7.0)
    found = count(shop, tmp_path)
    assert (found["purchases"], found["value"]) == (1, 70_000)
    assert leave_out(shop, tmp_path / "again") == LeftOut(impossible_values=1)


def test_the_time_before_is_of_any_experiment_or_none_within_its_days(tmp_path):
    shop = Shop()
    too_old, before = START_S - 14.1 * DAY_S, START_S - 13.9 * DAY_S
    for time_s in (too_old, before, before + DAY_S):
        image = shop.show("ann", "a", time_s, experiment="another")
        shop.tell(image, "click", time_s + 1, experiment="another")
    bare = shop.show("ann", "", START_S - 1, experiment="")
    shop.tell(bare, "purchase", START_S - 0.5, value=9.0, experiment="")
    shop.show("eve", "", START_S - 1, experiment="")
    shop.show("ann", "generic")
    found = count(shop, tmp_path)
    assert {k: v for k, v in found.items() if k.startswith("pre_")} == {
        "pre_shown": 3,
        "pre_clicks": 2,
        "pre_purchases": 1,
        "pre_value": 90_000,
    }
    assert found["shown"] == 1 and "value" not in found
    nothing = AnalysisSettings(pre_period_days=0)
    assert "pre_shown" not in count(shop, tmp_path / "again", settings=nothing)


def test_an_experiment_that_began_with_the_server_began_with_its_first_image(tmp_path):
    shop = Shop()
    shop.show("ann", "", START_S + DAY_S - 1, experiment="")
    shop.show("ann", "generic", START_S + DAY_S)
    assert count(shop, tmp_path, experiment=define(start_s=None))["pre_shown"] == 1


def test_who_was_only_refused_asked_all_the_same(tmp_path):
    shop = Shop()
    shop.show("ann", "generic")
    shop.show("ann", "generic")
    shop.tell("none", "refusal", unit="ann", arm="generic")
    shop.tell("none", "refusal", unit="ben", arm="generic")
    shop.tell("none", "refusal", unit="cat", arm="original")
    shop.tell("none", "refusal", unit="cat", arm="generic")  # of two arms: of none
    shop.tell("none", "refusal", unit="dan", arm="generic")
    shop.show("dan", "original")
    shop.tell("none", "refusal", START_S - 1, unit="ann", arm="original")  # of an earlier version
    shop.tell("none", "refusal", START_S - 1, unit="fay", arm="generic")
    shop.tell("none", "refusal", unit="eve", arm="generic", experiment="another")
    shop.tell("none", "refusal", unit="qa", arm="generic", is_override=True)
    with aggregate(shop, tmp_path) as events:
        moments = events.sum_requests(METRICS["refusals"].pairs)
        left_out = events.count_left_out()
    assert moments["generic"].count == 2
    assert moments["generic"].sums == {"asked": 4, "refused": 2}
    assert moments["original"].sums == {"asked": 0, "refused": 0}
    assert left_out.unseen_outcomes == 0


def test_segments_are_who_shoppers_were_at_their_first_image(tmp_path):
    shop = Shop()
    shop.show("ann", "generic", START_S, locale="pt-BR", interests=["music", "sports", "music"])
    shop.show("ann", "generic", START_S + 1, locale="de", interests=["kitchen"], is_known=False)
    shop.show("ben", "original", START_S, locale="de", interests=[], is_anonymous=True)
    with aggregate(shop, tmp_path) as events:
        found = list(events.sum_segments(METRICS["ctr"].pairs, 8))
    sizes = {
        (s.dimension, s.value): {a: m.count for a, m in s.samples.items() if m.count} for s in found
    }
    assert sizes == {
        ("locale", "de"): {"original": 1},
        ("locale", "pt-BR"): {"generic": 1},
        ("session", "anonymous"): {"original": 1},
        ("session", "signed in"): {"generic": 1},
        ("interest", "music"): {"generic": 1},
        ("interest", "sports"): {"generic": 1},
    }


def test_the_largest_segments_are_told(tmp_path):
    shop = Shop()
    for number, locale in enumerate(["en"] * 3 + ["de"] * 2 + ["fr"]):
        shop.show(f"shopper {number}", "generic", locale=locale)
    with aggregate(shop, tmp_path) as events:
        found = [s.value for s in events.sum_segments(METRICS["ctr"].pairs, 2)]
    assert found == ["en", "de"]


def test_arms_are_counted_with_their_latencies(tmp_path):
    shop = Shop()
    for number in range(101):
        image = shop.show("ann", "generic", latency_s=number / 100)
    shop.tell(image, "click")
    shop.tell(image, "cart")
    shop.tell(image, "purchase", value=2.5)
    shop.show("qa", "generic", latency_s=99.0, is_override=True)
    with aggregate(shop, tmp_path) as events:
        found = events.count_arms(with_mixed=False)
        assert events.find_span() == (START_S, START_S)
    assert found["generic"] == ArmCounts(1, 101, 1, 1, 1, 2.5, 0.5, 0.95)
    assert found["original"].images == 0 and math.isnan(found["original"].latency_p95_s)


def test_who_saw_several_arms_may_count_in_each(tmp_path):
    shop = Shop()
    shop.tell(shop.show("ann", "generic"), "click")
    shop.show("ann", "original")
    with aggregate(shop, tmp_path) as events:
        nobody, ann = (events.count_arms(with_mixed=mixed) for mixed in (False, True))
    assert nobody["generic"].shoppers == nobody["original"].shoppers == 0
    assert (ann["generic"].clicks, ann["original"].clicks) == (1, 0)
    assert ann["generic"].shoppers == ann["original"].shoppers == 1


def live(seed: int, num_shoppers: int = 60, num_days: int = 9) -> Shop:
    """Shoppers who come, come back and do things over some days, some of them before."""
    shop, rng = Shop(), np.random.default_rng(seed)
    for number in range(num_shoppers):
        unit, arm = f"shopper {number}", ARMS[rng.integers(3)]
        for _ in range(rng.poisson(2)):
            time_s = START_S - DAY_S * 5 * rng.random()
            shop.tell(shop.show(unit, "", time_s, experiment=""), "click", time_s, experiment="")
        for _ in range(1 + rng.poisson(3)):
            time_s = START_S + DAY_S * num_days * rng.random()
            image = shop.show(unit, arm, time_s, latency_s=float(rng.random()))
            for kind in ("click", "cart", "purchase", "dwell"):
                if rng.random() < 0.4:
                    later_s = time_s + DAY_S * 2 * rng.random()
                    shop.tell(image, kind, later_s, float(rng.lognormal(2, 1)))
    return shop


def test_each_day_of_the_timeline_is_what_a_report_on_its_evening_would_have_said(tmp_path):
    shop, goals = live(1), {metric.key: metric.pairs for metric in GOALS}
    with aggregate(shop, tmp_path / "all") as events:
        days = {key: list(events.sum_days(pairs)) for key, pairs in goals.items()}
    starts_s = [day.start_s for day in days["ctr"]]
    assert len(starts_s) >= 9
    for number, start_s in enumerate(starts_s):
        with aggregate(shop, tmp_path / str(number), now_s=start_s + DAY_S) as events:
            for key, pairs in goals.items():
                assert events.sum_all(pairs) == days[key][number].samples, key


def test_a_long_timeline_has_its_last_day_and_not_all_others(tmp_path):
    shop = Shop()
    for day in range(150):
        shop.show(f"shopper {day}", "generic", START_S + DAY_S * day)
    with aggregate(shop, tmp_path, now_s=START_S + 200 * DAY_S) as events:
        days = list(events.sum_days(METRICS["ctr"].pairs))
    assert len(days) == 50
    assert days[-1].samples["generic"].count == 150
    assert days[0].samples["generic"].count == 3


def test_nothing_happened_yet(tmp_path):
    with aggregate(Shop(), tmp_path) as events:
        assert events.find_span() is None
        assert events.sum_all(PAIRS)["generic"].count == 0
        assert list(events.sum_days(PAIRS)) == [] and events.count_left_out() == LeftOut()


def test_an_export_without_files_is_of_a_shop_that_nobody_visited(tmp_path):
    with open_tables(tmp_path, define(), AnalysisSettings(), NOW_S) as tables:
        assert Aggregator(tables, "window", ARMS, NOW_S).find_span() is None


def test_the_event_logs_own_export_has_all_that_is_read(tmp_path):
    for name, table in (("exposures", exposures), ("outcomes", outcomes)):
        (tmp_path / name).mkdir()
        pq.write_table(Layout(table).schema.empty_table(), tmp_path / name / "0.parquet")
    with open_tables(tmp_path, define(), AnalysisSettings(), NOW_S) as tables:
        events = Aggregator(tables, "window", ARMS, NOW_S)
        assert events.find_span() is None and events.count_left_out() == LeftOut()


def test_sums_are_the_same_from_one_file_or_many(tmp_path):
    shop = live(2)
    settings = AnalysisSettings(num_threads=2)
    found: list[dict[str, Moments]] = []
    for num_files in (1, 7):
        folder = shop.write(tmp_path / str(num_files), num_files)
        with open_tables(folder, define(), settings, NOW_S) as tables:
            found.append(dict(Aggregator(tables, "window", ARMS, NOW_S).sum_all(PAIRS)))
    assert found[0] == found[1]


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FailedPrecondition, match="there is no export at"):
        with open_tables(tmp_path / "nowhere", define(), AnalysisSettings(), NOW_S):
            pass


def test_missing_columns_are_refused_by_name(tmp_path):
    folder = live(3, 5).write(tmp_path)
    path = folder / "exposures" / "0.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["arm", "unit"]), path)
    with pytest.raises(FailedPrecondition, match="exposures of .* have no arm, unit"):
        with open_tables(folder, define(), AnalysisSettings(), NOW_S):
            pass


def test_a_file_that_is_not_parquet_is_refused(tmp_path):
    folder = live(4, 5).write(tmp_path)
    (folder / "outcomes" / "0.parquet").write_bytes(b"not parquet")
    with pytest.raises(FailedPrecondition, match="outcomes of .* can't be read"):
        with open_tables(folder, define(), AnalysisSettings(), NOW_S):
            pass
