"""The report for people: one page that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template

from server.experiments.analysis.report import ExperimentReport
from server.experiments.analysis.sections import (
    render_arms,
    render_bandit,
    render_goal,
    render_guardrails,
    render_others,
    render_outlooks,
    render_segments,
    render_timeline,
    section,
)
from server.experiments.analysis.wording import show_day

PAGE = Path(__file__).with_name("page.html")
MARKS = {"ok": ("ok", "✓"), "caution": ("caution", "!"), "alarm": ("alarmed", "✕")}
LEFT_OUT = {
    "mixed_shoppers": "shoppers who saw more than one arm",
    "override_images": "images that were forced for quality assurance",
    "early_images": "images before the start",
    "nameless_images": "images that were shown to nobody in particular",
    "other_arm_images": "images of arms that the experiment does not have",
    "unseen_outcomes": "outcomes of images that were never reported as rendered",
    "early_outcomes": "outcomes before the shopper's first image",
    "impossible_values": "outcomes with a value that can't be",
}


def render(report: ExperimentReport) -> str:
    return Template(PAGE.read_text("utf-8")).substitute(
        title=escape(f"Experiment {report.experiment}"),
        verdict=_render_verdict(report),
        facts=" · ".join(_list_facts(report)),
        body="\n".join(_render_sections(report)),
        footer=f"Made on {show_day(report.made_s)}. Version {report.version} of the report.",
    )


def _render_sections(report: ExperimentReport) -> Iterator[str]:
    if report.verdict.decision == "empty":
        return
    yield _render_checks(report)
    if report.off_policy:
        yield render_bandit(report)
        yield render_arms(report)
    else:
        yield render_goal(report)
        if len({point.start_s for point in report.timeline}) > 1:
            yield render_timeline(report)
        yield render_others(report)
        yield render_guardrails(report)
        yield render_arms(report)
        if report.segments:
            yield render_segments(report)
        yield render_outlooks(report)
    yield _render_notes(report)


def _render_verdict(report: ExperimentReport) -> str:
    verdict = report.verdict
    alarms = "".join(
        f'<div class="alarm" role="alert"><b>{escape(check.name.capitalize())}</b>'
        f"{escape(check.text)}</div>"
        for check in verdict.checks
        if check.state == "alarm"
    )
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in verdict.sentences)
    listed = f"<ul>{sentences}</ul>" if sentences else ""
    return f'<p class="headline">{escape(verdict.headline)}</p>{alarms}{listed}'


def _list_facts(report: ExperimentReport) -> Iterator[str]:
    yield f"Control: {escape(report.control)}"
    if report.verdict.decision == "empty":
        return
    found, arms = report.off_policy, [arm.counts for arm in report.arms]
    shoppers = found.num_units / found.sampled if found else sum(arm.shoppers for arm in arms)
    yield f"{shoppers:,.0f} shoppers"
    yield f"{sum(arm.images for arm in arms):,} images"
    yield f"{show_day(report.first_s)} to {show_day(report.last_s)}"
    yield "over" if report.is_over else "still running"


def _render_checks(report: ExperimentReport) -> str:
    rows = []
    for check in report.verdict.checks:
        name, mark = MARKS[check.state]
        words = "See above." if check.state == "alarm" else check.text
        text = f"<span><b>{escape(check.name.capitalize())}.</b> {escape(words)}</span>"
        rows.append(f'<li class="{name}"><i>{mark}</i>{text}</li>')
    listed = f'<ul class="checks">{"".join(rows)}</ul>'
    return section("Can it be trusted?", "What was looked at before any number.", listed)


def _render_notes(report: ExperimentReport) -> str:
    rows = "".join(f"<li>{note}</li>" for note in _list_notes(report))
    return section("How it was told", "", f'<ul class="notes">{rows}</ul>')


def _list_notes(report: ExperimentReport) -> Iterator[str]:
    method, level = report.method, f"{100 * (1 - report.method.alpha):.0f} %"
    counts = ((getattr(report.left_out, name), words) for name, words in LEFT_OUT.items())
    left_out = "; ".join(f"{count:,} {words}" for count, words in counts if count)
    yield f"Left out: {left_out or 'nothing'}."
    yield (
        "Shoppers were randomized, so they are what is counted. Outcomes count for an image that "
        "was reported as rendered, from the shopper's first image on. Those who came last have had "
        "less time to act, in every arm alike."
    )
    if report.off_policy:
        yield (
            f"Intervals are {level}, over shoppers. A bandit learns while it decides, which they "
            "do not account for: take them as approximate."
        )
        return
    yield (
        f"Intervals are {level}, by the normal distribution; those of ratios over images by the "
        "delta method, lifts on the scale of logarithms. All arithmetic is tea-tasting's."
    )
    explained = [c for c in report.contrasts if c.estimate.variance_removed > 0]
    if explained:
        most = max(explained, key=lambda c: c.estimate.variance_removed)
        yield (
            f"What shoppers did in the {method.pre_period_days:g} days before the start was taken "
            f"off (CUPED): up to {100 * most.estimate.variance_removed:.1f} % of the variance, in "
            f"{escape(most.metric)}."
        )
    else:
        yield "There was no time before the start that explains anything, so no CUPED."
    yield (
        "Sequential intervals are asymptotic confidence sequences (Waudby-Smith and others, 2021, "
        f"arXiv 2103.06476), narrowest at {method.tuning_units:,} shoppers of two arms. They hold "
        "at all times at once, so stopping as soon as one leaves zero is allowed."
    )
