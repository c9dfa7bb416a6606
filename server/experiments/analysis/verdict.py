"""The report in a few words: what happened, and whether to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from server.experiments.analysis.contrasts import Contrast
from server.experiments.analysis.metrics import METRICS, Interval
from server.experiments.analysis.report import ArmFacts, Check, Decision, ExperimentReport, Verdict
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.analysis.tables import DAY_S
from server.experiments.analysis.wording import show_lift, show_lifts

FEW = 10
"""Shoppers or images with an outcome in an arm, below which the normal distribution is a guess."""
MIXED = 0.01
UNSEEN = 0.05


def reach_verdict(report: ExperimentReport, settings: AnalysisSettings) -> Verdict:
    if math.isnan(report.first_s):
        text = "Nobody has seen an image of this experiment yet."
        return Verdict("empty", text, (), ())
    checks = tuple(check_all(report, settings))
    if report.off_policy:
        decision, headline, sentences = _judge_bandit(report)
    else:
        decision, headline, sentences = _judge_arms(report)
    if any(check.state == "alarm" for check in checks):
        headline = "Do not use these numbers: something is wrong with the experiment itself."
        return Verdict("untrusted", headline, (), checks)
    return Verdict(decision, _begin(headline), tuple(map(_begin, sentences)), checks)


def _begin(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _judge_arms(report: ExperimentReport) -> tuple[Decision, str, tuple[str, ...]]:
    found = [each for each in report.contrasts if each.metric == report.goal]
    decided = [
        each for each in found if each.baseline == report.control and each.outcome != "undecided"
    ]
    sentences = [*(say(each, report) for each in found), *_say_wait(report)]
    if not decided:
        end = "could be told" if report.is_over else "can be told yet"
        return "undecided", f"No difference from {report.control} {end}.", tuple(sentences)
    best = max(decided, key=lambda each: each.estimate.effect)
    return "decided", say(best, report), tuple(s for s in sentences if s != say(best, report))


def say(contrast: Contrast, report: ExperimentReport) -> str:
    """A contrast as a sentence, with the interval that decides."""
    estimate, metric = contrast.estimate, METRICS[contrast.metric]
    interval = estimate.lift_interval if report.is_over else estimate.lift_sequential
    arm, baseline = contrast.arm, contrast.baseline
    if contrast.outcome == "undecided":
        lift = f"{show_lift(estimate.lift)} ({show_lifts(interval)})"
        return f"{arm} can't be told from {baseline} by {metric.words}: {lift}."
    less = "less" if metric.unit == "money" else "fewer"
    change = "more" if estimate.effect > 0 else less
    if math.isnan(estimate.lift):
        return f"{arm} has {change} {metric.words} than {baseline}."
    size = f"{100 * abs(estimate.lift):.1f} %"
    return f"{arm} has {size} {change} {metric.words} than {baseline} ({show_lifts(interval)})."


def _say_wait(report: ExperimentReport) -> Iterator[str]:
    open_pairs = {
        (each.baseline, each.arm)
        for each in report.contrasts
        if each.metric == report.goal and each.outcome == "undecided"
    }
    waits = [each for each in report.outlooks if (each.baseline, each.arm) in open_pairs]
    days = [wait.days if report.is_over else wait.sequential_days for wait in waits]
    if report.is_over or not days or not all(map(math.isfinite, days)):
        return
    effect, longest = f"{100 * report.method.effect:.0f} %", math.ceil(max(days))
    if longest:
        yield f"At the present pace an effect of {effect} is seen in about {longest} more days."
    else:
        yield f"An effect of {effect} would have been seen by now; if there is one, it is smaller."


def _judge_bandit(report: ExperimentReport) -> tuple[Decision, str, tuple[str, ...]]:
    assert report.off_policy is not None
    logged, policies = report.off_policy.logged, report.off_policy.policies
    rows = [
        f"Always {each.policy}: {_show_value(each.dr.value, each.dr.interval)}."
        for each in policies
    ]
    best = min(policies, key=lambda each: each.gain.value)
    verb = f"{report.off_policy.reward}s for each image"
    bandit = f"The bandit brought {_show_value(logged.value, logged.interval)} {verb}"
    if all(each.gain.interval.low > 0 for each in policies):
        return "decided", f"{bandit}, more than any single arm would have.", tuple(rows)
    if best.gain.interval.high < 0:
        return "decided", f"{bandit}; always {best.policy} would have brought more.", tuple(rows)
    return "undecided", f"{bandit}; no single arm can be told from it.", tuple(rows)


def _show_value(value: float, interval: Interval) -> str:
    return f"{value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def check_all(report: ExperimentReport, settings: AnalysisSettings) -> Iterator[Check]:
    yield _check_propensities(report) if report.off_policy else _check_ratio(report)
    yield _check_size(report, settings)
    yield _check_time(report, settings)
    yield _check_outcomes(report)
    if not report.off_policy:
        yield _check_mixed(report)
        yield _check_guardrails(report)


def _check_ratio(report: ExperimentReport) -> Check:
    ratio = report.sample_ratio
    if math.isnan(ratio.p_value):
        return Check("sample ratio", "caution", "Too few shoppers to check the arms' sizes.")
    sizes = ", ".join(
        f"{arm} {count:,} (expected {ratio.expected[arm]:,.0f})"
        for arm, count in ratio.counts.items()
    )
    if ratio.is_mismatch:
        text = (
            f"Sample ratio mismatch: {sizes}; by chance alone this is as rare as "
            f"p = {ratio.p_value:.1e}. Shoppers of some arm are missing, and those who are missing "
            "differ from those who are not: no number below can be trusted. Look for images that "
            "fail, are slow or are not reported as rendered in one of the arms, and for weights "
            "that were changed while it ran."
        )
        return Check("sample ratio", "alarm", text)
    text = f"The arms have the sizes that they should have (p = {ratio.p_value:.2g})."
    return Check("sample ratio", "ok", text)


def _check_propensities(report: ExperimentReport) -> Check:
    assert report.off_policy is not None
    wrong = [p for p in report.off_policy.policies if p.mean_weight.interval.excludes(1.0)]
    if wrong:
        arms = ", ".join(f"{p.policy} {p.mean_weight.value:.3f}" for p in wrong)
        text = f"The logged propensities are not those of the choices: mean weights {arms}, not 1."
        return Check("propensities", "alarm", text)
    return Check("propensities", "ok", "Arms were chosen as often as their propensities say.")


def _check_size(report: ExperimentReport, settings: AnalysisSettings) -> Check:
    arm = min(report.arms, key=lambda each: each.counts.shoppers)
    if arm.counts.shoppers < settings.min_units:
        text = f"Only {arm.counts.shoppers:,} shoppers saw {arm.name}: too few to say anything."
        return Check("size", "caution", text)
    rare = min(report.arms, key=lambda each: count_goal(each, report.goal))
    if not report.off_policy and (count := count_goal(rare, report.goal)) < FEW:
        text = f"{rare.name} has only {count} events of the goal: its intervals are a guess."
        return Check("size", "caution", text)
    total = sum(each.counts.shoppers for each in report.arms)
    return Check("size", "ok", f"{total:,} shoppers, at least {arm.counts.shoppers:,} in each arm.")


def count_goal(arm: ArmFacts, goal: str) -> int:
    counts = arm.counts
    kinds = {
        "conversion": counts.purchases,
        "value": counts.purchases,
        "cart_share": counts.carts,
        "dwell": counts.images,
    }
    return kinds.get(goal, counts.clicks)


def _check_time(report: ExperimentReport, settings: AnalysisSettings) -> Check:
    days = (report.last_s - report.first_s) / DAY_S
    if days < settings.min_days:
        text = f"Seen for {days:.1f} days: less than a week has not all kinds of days in it."
        return Check("duration", "caution", text)
    if report.is_over:
        text = f"Ended as planned, after {days:.0f} days: intervals for one look are right."
    else:
        text = f"Has run for {days:.0f} days and runs on: the sequential intervals decide."
    return Check("duration", "ok", text)


def _check_mixed(report: ExperimentReport) -> Check:
    mixed = report.left_out.mixed_shoppers
    share = mixed / max(1, mixed + sum(arm.counts.shoppers for arm in report.arms))
    text = f"{mixed:,} shoppers ({100 * share:.2g} %) saw more than one arm and are left out."
    if share > MIXED:
        text += " Somebody is assigned anew: look for sessions that change, or changed weights."
        return Check("mixed shoppers", "caution", text)
    return Check("mixed shoppers", "ok", text if mixed else "Nobody saw more than one arm.")


def _check_outcomes(report: ExperimentReport) -> Check:
    unseen = report.left_out.unseen_outcomes
    counts = [arm.counts for arm in report.arms]
    seen = sum(each.clicks + each.carts + each.purchases for each in counts)
    if unseen > UNSEEN * (unseen + seen):
        text = f"{unseen:,} outcomes are of images that were never reported as rendered."
        return Check("outcomes", "caution", text)
    return Check("outcomes", "ok", "Outcomes are of images that were rendered.")


def _check_guardrails(report: ExperimentReport) -> Check:
    worse: dict[str, list[str]] = {}
    for each in report.contrasts:
        metric = METRICS[each.metric]
        if metric.is_guardrail and each.outcome == "worse" and each.baseline == report.control:
            lift = f"{each.arm} {show_lift(each.estimate.lift)}"
            worse.setdefault(metric.words, []).append(lift)
    if worse:
        text = "; ".join(f"{words}: {', '.join(lifts)}" for words, lifts in worse.items())
        return Check("guardrails", "caution", f"More {text}.")
    return Check("guardrails", "ok", "None has become worse.")
