"""The way from a folder of events to a report, told once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from server.experiments.analysis.aggregate import (
    Aggregator,
    ArmCounts,
    Day,
    LeftOut,
    Samples,
    Segment,
)
from server.experiments.analysis.contrasts import (
    Comparison,
    compare_arms,
    contrast,
    judge,
    name_control,
    pair_arms,
)
from server.experiments.analysis.decisions import OffPolicy, evaluate_bandit
from server.experiments.analysis.metrics import GOALS, METRICS, Metric
from server.experiments.analysis.power import Outlook, look_ahead, measure_rate
from server.experiments.analysis.report import (
    VERSION,
    ArmFacts,
    ExperimentReport,
    Method,
    MetricFacts,
    SegmentFacts,
    TimePoint,
    Verdict,
)
from server.experiments.analysis.sample_ratio import SampleRatio, check_sample_ratio
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.analysis.tables import find_start_s, open_tables
from server.experiments.analysis.verdict import reach_verdict
from server.experiments.definition import Experiment


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that is asked of the events. `samples` are those of each metric, by its key; of a bandit
    there are no days and no segments, since its arms can't be compared as they are."""

    first_s: float
    last_s: float
    start_s: float
    samples: Mapping[str, Samples]
    days: Sequence[Day]
    segments: Sequence[Segment]
    arms: Mapping[str, ArmCounts]
    left_out: LeftOut
    off_policy: OffPolicy | None


def analyze(
    folder: Path,
    experiment: Experiment,
    now_s: float,
    settings: AnalysisSettings | None = None,
) -> ExperimentReport:
    """What the events in exposures/*.parquet and outcomes/*.parquet before `now_s` say of an
    experiment. The same events, time and settings give the same report.

    Raises FailedPrecondition where the folder is no export, ValueError for an unknown goal.
    """
    settings = settings or AnalysisSettings()
    goal = METRICS.get(settings.goal)
    if goal not in GOALS:
        known = ", ".join(metric.key for metric in GOALS)
        raise ValueError(f"analysis.goal must be one of {known}, not {settings.goal!r}")
    gathered = gather(folder, experiment, goal, settings, now_s)
    report = describe(gathered, experiment, goal, settings, now_s)
    return replace(report, verdict=reach_verdict(report, settings))


def gather(
    folder: Path, experiment: Experiment, goal: Metric, settings: AnalysisSettings, now_s: float
) -> Gathered:
    arms, bandit = [arm.name for arm in experiment.arms], experiment.bandit
    with open_tables(folder, experiment, settings, now_s) as connection:
        events = Aggregator(connection, experiment.key, arms, now_s)
        first_s, last_s = events.find_span() or (math.nan, math.nan)
        segments = events.sum_segments(goal.pairs, settings.num_segments)
        left_out = events.count_left_out()
        return Gathered(
            first_s=first_s,
            last_s=last_s,
            start_s=find_start_s(connection, experiment),
            samples=sum_metrics(events),
            days=[] if bandit else list(events.sum_days(goal.pairs)),
            segments=[] if bandit else list(segments),
            arms=events.count_arms(with_mixed=bandit is not None),
            left_out=replace(left_out, mixed_shoppers=0) if bandit else left_out,
            off_policy=evaluate_bandit(connection, experiment, bandit, settings, now_s)
            if bandit
            else None,
        )


def sum_metrics(events: Aggregator) -> dict[str, Samples]:
    """By the key of each metric: of shoppers who saw an image, or of all who asked for one."""
    asked = METRICS["refusals"]
    seen = {pair for metric in METRICS.values() if metric is not asked for pair in metric.pairs}
    shoppers, askers = (
        events.sum_all(sorted(seen)),
        events.sum_requests(asked.pairs),
    )
    return {key: askers if metric is asked else shoppers for key, metric in METRICS.items()}


def describe(
    gathered: Gathered,
    experiment: Experiment,
    goal: Metric,
    settings: AnalysisSettings,
    now_s: float,
) -> ExperimentReport:
    """The report but for its verdict."""
    samples = gathered.samples
    is_over = experiment.end is not None and experiment.end.timestamp() <= now_s
    is_fixed = experiment.bandit is None
    contrasts = contrast(experiment, samples, settings, is_over=is_over) if is_fixed else []
    return ExperimentReport(
        version=VERSION,
        experiment=experiment.key,
        control=name_control(experiment),
        goal=goal.key,
        made_s=now_s,
        start_s=gathered.start_s,
        first_s=gathered.first_s,
        last_s=gathered.last_s,
        is_over=is_over,
        verdict=Verdict("empty", "", (), ()),
        arms=tuple(describe_arms(experiment, gathered.arms)),
        sample_ratio=check_arms(experiment, samples[goal.key]),
        left_out=gathered.left_out,
        metrics=tuple(describe_metric(METRICS[key], samples[key], settings) for key in samples),
        contrasts=tuple(contrasts),
        timeline=tuple(draw_timeline(experiment, goal, gathered.days, settings)),
        segments=tuple(describe_segments(experiment, goal, gathered, settings, is_over=is_over)),
        outlooks=tuple(look_at_arms(experiment, goal, gathered, settings)),
        off_policy=gathered.off_policy,
        method=describe_method(settings, is_over=is_over),
    )


def describe_arms(experiment: Experiment, counts: Mapping[str, ArmCounts]) -> Iterator[ArmFacts]:
    whole = sum(arm.weight for arm in experiment.arms)
    for arm in experiment.arms:
        shows, share = arm.changes.shows.value, arm.weight / whole
        yield ArmFacts(arm.name, shows, share, counts[arm.name])


def check_arms(experiment: Experiment, samples: Samples) -> SampleRatio:
    """A bandit's arms have no sizes that they should have."""
    counts = {name: sample.count for name, sample in samples.items()}
    if experiment.bandit is not None:
        return SampleRatio(counts, {}, math.nan)
    return check_sample_ratio(counts, {arm.name: arm.weight for arm in experiment.arms})


def describe_metric(metric: Metric, samples: Samples, settings: AnalysisSettings) -> MetricFacts:
    values = {}
    for arm, sample in samples.items():
        below = sample.mean(metric.below) if metric.below else 1.0
        values[arm] = sample.mean(metric.above) / below if below else math.nan
    return MetricFacts(
        key=metric.key,
        title=metric.title,
        words=metric.words,
        unit=metric.unit,
        better=metric.better,
        is_goal=metric.key == settings.goal,
        is_guardrail=metric.is_guardrail,
        values=values,
    )


def draw_timeline(
    experiment: Experiment, goal: Metric, days: Sequence[Day], settings: AnalysisSettings
) -> Iterator[TimePoint]:
    for day in days:
        for each in compare_arms(experiment, goal, day.samples, settings):
            yield TimePoint(day.start_s, each.baseline, each.arm, each.estimate)


def describe_segments(
    experiment: Experiment,
    goal: Metric,
    gathered: Gathered,
    settings: AnalysisSettings,
    *,
    is_over: bool,
) -> Iterator[SegmentFacts]:
    """Those with enough shoppers in each arm, corrected for how many comparisons there are."""
    family: list[Comparison] = []
    kept: list[tuple[Segment, SampleRatio, int]] = []
    for segment in gathered.segments:
        if min(sample.count for sample in segment.samples.values()) < settings.min_units:
            continue
        ratio = check_arms(experiment, segment.samples)
        found = compare_arms(experiment, goal, segment.samples, settings)
        kept.append((segment, ratio, 0 if ratio.is_mismatch else len(found)))
        family += [] if ratio.is_mismatch else found
    contrasts = iter(judge(family, "holm", settings, is_over=is_over))
    for segment, ratio, count in kept:
        own = tuple(itertools.islice(contrasts, count))
        yield SegmentFacts(segment.dimension, segment.value, ratio, own)


def look_at_arms(
    experiment: Experiment, goal: Metric, gathered: Gathered, settings: AnalysisSettings
) -> Iterator[Outlook]:
    """At a level that is shared by all comparisons."""
    pairs, samples = pair_arms(experiment), gathered.samples[goal.key]
    shared = replace(settings, alpha=settings.alpha / max(1, len(pairs)))
    for baseline, arm in pairs if gathered.days else ():
        span = gathered.first_s, gathered.last_s
        rate = measure_rate(gathered.days, (baseline, arm), *span)
        both = samples[baseline], samples[arm]
        yield look_ahead(goal, (baseline, arm), both, rate, shared)


def describe_method(settings: AnalysisSettings, *, is_over: bool) -> Method:
    return Method(
        alpha=settings.alpha,
        power=settings.power,
        effect=settings.effect,
        pre_period_days=settings.pre_period_days,
        tuning_units=settings.tuning_units,
        decides="one look" if is_over else "sequential",
    )
